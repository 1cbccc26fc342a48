"""Places as unit vectors, and distances along great circles."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from xappa.geometry import EARTH_RADIUS, arc_to_chord, chord_to_arc, to_unit_vectors

LATITUDES, LONGITUDES = st.floats(-90, 90), st.floats(-360, 360)


def test_the_axes():
    found = to_unit_vectors(np.array([0.0, 0.0, 90.0, -90.0]), np.array([0.0, 90.0, 45.0, 0.0]))
    np.testing.assert_allclose(found, [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, -1]], atol=1e-15)


@given(LATITUDES, LONGITUDES)
def test_places_are_on_the_unit_sphere_and_come_back(latitude, longitude):
    x, y, z = to_unit_vectors(np.float64(latitude), np.float64(longitude))
    np.testing.assert_allclose(x**2 + y**2 + z**2, 1)
    np.testing.assert_allclose(np.rad2deg(np.arctan2(z, np.hypot(x, y))), latitude, atol=1e-6)


def test_latitudes_and_longitudes_that_broadcast():
    found = to_unit_vectors(np.array([10.0, 20.0])[:, None], np.array([0.0, 30.0, 60.0]))
    assert found.shape == (2, 3, 3)
    np.testing.assert_array_equal(found[1, 2], to_unit_vectors(np.float64(20.0), np.float64(60.0)))


@given(st.floats(0, np.pi * EARTH_RADIUS * 0.999))
def test_arcs_and_chords_are_inverse(distance):
    np.testing.assert_allclose(chord_to_arc(np.float64(arc_to_chord(distance))), distance, rtol=1e-6, atol=1e-6)


def test_a_quarter_of_a_meridian():
    pole, equator = to_unit_vectors(np.array([90.0, 0.0]), np.array([0.0, 123.0]))
    np.testing.assert_allclose(chord_to_arc(np.linalg.norm(pole - equator)), np.pi / 2 * EARTH_RADIUS)
