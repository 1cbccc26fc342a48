"""Make a model: simulate a nature run, train both networks, write a model directory."""
