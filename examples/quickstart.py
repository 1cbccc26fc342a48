"""A dozen reports from Europe become an ensemble of atmospheres. Needs the package, no other file; some seconds."""

import pandas as pd

import xappa

STATIONS = pd.DataFrame(
    [
        ("De Bilt", 52.10, 5.18, 2.0, 283.4, 101340.0),
        ("Potsdam", 52.38, 13.06, 81.0, 282.1, 101420.0),
        ("Paris", 48.72, 2.38, 90.0, 284.9, 101260.0),
        ("Munich", 48.16, 11.54, 515.0, 281.0, 101500.0),
        ("Vienna", 48.25, 16.36, 203.0, 283.6, 101480.0),
        ("Madrid", 40.41, -3.68, 667.0, 286.2, 101610.0),
    ],
    columns=["station", "lat", "lon", "elev", "2m_temperature", "mean_sea_level_pressure"],
)

# The tidy form, one line a value: K and Pa, at 12 UTC. The last two columns become `variable` and `observation`.
reports = STATIONS.melt(id_vars=["station", "lat", "lon", "elev"], var_name="variable", value_name="observation")
reports["time"] = pd.Timestamp("2018-11-02T12")


def main() -> None:
    obs = xappa.read_observations(reports, error={"2m_temperature": 1.5, "mean_sea_level_pressure": 150.0})
    ds = xappa.template("2018-11-01T18", "2018-11-02T12")
    print(ds.appa.check())

    analysis = ds.appa.assimilate(obs, members=4, seed=0)  # nothing has run yet
    europe = analysis["2m_temperature"].isel(time=-1).sel(latitude=50.0, longitude=10.0, method="nearest").compute()
    print(f"2 m temperature near 50N 10E: {float(europe.mean()):.1f} K, give or take {float(europe.std(ddof=1)):.1f} K")
    print(xappa.diagnostics(analysis).compute())


if __name__ == "__main__":
    main()
