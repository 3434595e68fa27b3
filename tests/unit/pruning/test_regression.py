"""Layers fitted by least squares, with a ridge towards the weights that they had."""

import numpy as np
import pytest

from acgraph.pruning.regression import Moments, fit_matrix


def _moments(x, y):
    dx, dy = x - x.mean(axis=0), y - y.mean(axis=0)
    count = len(x)
    inner, cross, spread = dx.T @ dx / count, dx.T @ dy / count, y.var(axis=0)
    return Moments(inner, cross, spread, x.mean(axis=0), y.mean(axis=0), count)


def _setting(samples, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((samples, 6)) @ (np.eye(6) + 0.3 * rng.random((6, 6))) + 3
    truth, offset = rng.standard_normal((4, 6)), rng.standard_normal(4)
    return x, x @ truth.T + offset + noise * rng.standard_normal((samples, 4)), truth, offset


def test_what_is_linear_is_found():
    x, y, truth, offset = _setting(500)
    kept = np.ones(6, bool)
    found = fit_matrix(_moments(x[:400], y[:400]), _moments(x[400:], y[400:]), 0 * truth, kept,
                       centred=True)  # fmt: skip
    np.testing.assert_allclose(found.matrix, truth, atol=0.02)
    np.testing.assert_allclose(found.offset, offset, atol=0.1)
    assert found.error.max() < 1e-3


def test_removed_inputs_get_no_weight_and_the_others_make_up_for_them():
    x, y, truth, _ = _setting(500)
    kept = np.array([1, 1, 0, 1, 1, 1], bool)
    fit, held = _moments(x[:400], y[:400]), _moments(x[400:], y[400:])
    found = fit_matrix(fit, held, truth, kept, centred=True)
    assert not found.matrix[:, 2].any()
    assert (found.error < found.before).all()
    best = np.linalg.lstsq(np.c_[x[:, kept], np.ones(500)], y, rcond=None)[0]
    np.testing.assert_allclose(found.matrix[:, kept], best[:-1].T, atol=0.05)


def test_without_an_offset_the_moments_about_zero_count():
    x, y, truth, _ = _setting(500)
    kept = np.ones(6, bool)
    found = fit_matrix(_moments(x, y), None, truth, kept, centred=False)
    assert not found.offset.any()
    best = np.linalg.lstsq(x, y, rcond=None)[0].T
    residuals = [((x @ matrix.T - y) ** 2).mean() for matrix in (truth, found.matrix, best)]
    assert residuals[1] < 0.1 * residuals[0]
    assert residuals[1] < 1.5 * residuals[2]


def test_held_out_samples_keep_a_fit_to_few_samples_near_the_old_weights():
    """Seven samples say little of six inputs: without a ridge noise would be fitted."""
    x, y, truth, _ = _setting(400, noise=3.0)
    fit, held = _moments(x[:7], y[:7]), _moments(x[7:], y[7:])
    found = fit_matrix(fit, held, truth, np.ones(6, bool), centred=True)
    free = np.linalg.lstsq(x[:7] - x[:7].mean(0), y[:7] - y[:7].mean(0), rcond=None)[0].T
    assert np.abs(found.matrix - truth).max() < 0.2 * np.abs(free - truth).max()
    assert (found.error <= found.before).all()


def test_moments_of_two_parts_are_those_of_the_whole():
    x, y, *_ = _setting(90)
    both = _moments(x[:30], y[:30]).with_(_moments(x[30:], y[30:]))
    whole = _moments(x, y)
    assert both.count == 90
    for name in ("inner", "cross", "spread", "inputs", "targets"):
        np.testing.assert_allclose(getattr(both, name), getattr(whole, name), err_msg=name)


def test_inputs_that_are_zero_leave_the_weights_as_they_are():
    zeros = Moments(*map(np.zeros, ((3, 3), (3, 2), 2, 3, 2)), 10)
    found = fit_matrix(zeros, zeros, np.ones((2, 3)), np.ones(3, bool), centred=True)
    np.testing.assert_array_equal(found.matrix, 1)
    assert found.error == pytest.approx([0, 0])
