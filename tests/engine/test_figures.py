"""Figures: what they say is there once and can be read; and the check of that sees what is wrong."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import assocmem_jax as am
from assocmem_jax import plot
from figures import faults


def drawn(fill, width=plot.PAGE):
    with plot.paper():
        figure, axes = plot.panels(1, 2, 2.2, width)
        fill(figure, *axes[0])
        return figure, faults(figure)


def curves(ax, count, label="curve {}"):
    for k in range(count):
        plot.band(ax, [1, 10], [0.2 + k / 9, 0.1], [0.05, 0.02], colour=k, label=label.format(k))


def test_one_legend_says_every_label_once_and_fits():
    def fill(figure, a, b):
        for ax in (a, b):
            curves(ax, 3, "$W_O^{}$ of a rather long name")
            ax.set(xlabel="step", ylabel="recall")
        plot.legend(figure, band="95 % interval of the mean")

    for width in (plot.COLUMN, plot.PAGE):
        figure, found = drawn(fill, width)
        assert found == []
        (legend,) = figure.legends
        assert len(legend.get_texts()) == 4
        assert legend.get_texts()[-1].get_text() == "95 % interval of the mean"


PLANTED = {
    "outside of the figure": lambda figure, a, b: figure.text(0.5, 0.5, "a long word " * 9),
    "is over": lambda figure, a, b: a.set_xticks([0.5, 0.51], ["thousand", "thousands"]),
    "in a legend 2 times: 'same'": lambda figure, a, b: (
        curves(a, 2, "same"),
        a.legend(bbox_to_anchor=(1, -0.2)),
    ),
    "covers the line": lambda figure, a, b: (plot.line(a, [0, 1], [0, 1], label="x"), a.legend(loc="center")),
    "covers a band": lambda figure, a, b: (curves(a, 1), a.legend(loc="upper left")),
    "covers an image": lambda figure, a, b: (
        plot.mesh(a, [0, 1], [0, 1], np.eye(2), None),
        a.plot([], [], label="x"),
        a.legend(),
    ),
    "4 points: 'small'": lambda figure, a, b: a.set_xlabel("small", fontsize=4),
}


@pytest.mark.parametrize("said", PLANTED)
def test_what_is_wrong_with_a_figure_is_seen(said):
    _, found = drawn(PLANTED[said])
    assert any(said in line for line in found), found


DECADES = " ".join(f"10^{{{k}}}" for k in range(5))


@pytest.mark.parametrize(
    ("high", "labels"), [(3.0, "1 1.5 2 2.5 3"), (50.0, "1 2 5 10 20 50"), (1e4, DECADES)]
)
def test_a_logarithmic_axis_has_as_many_labels_as_it_asks_for(high, labels):
    def fill(figure, a, b):
        plot.line(a, [1, high], [1, 1])
        a.set_xlim(1, high)
        plot.log_axes(a, "x")

    figure, found = drawn(fill)
    assert found == []
    ax = figure.axes[0]
    seen = [
        t.get_text() for x, t in zip(ax.get_xticks(), ax.get_xticklabels()) if 1 <= x <= high * (1 + 1e-9)
    ]
    assert [text.replace("$\\mathdefault{", "").replace("}}$", "}") for text in seen] == labels.split()


def test_many_cells_are_pixels_in_a_pdf():
    """A heatmap of a sweep has 10⁵ cells: as drawings, megabytes that no reader of a paper waits for."""
    data = xr.Dataset({"v": (("a", "b"), np.ones((3, 4)))}, {"a": np.arange(3.0), "b": np.arange(4.0)})
    with plot.paper():
        heat = plot.heatmap(data, x="a", y="b")
        _, axes = plot.panels(1, 1, 2.0)
        plot.mesh(axes[0, 0], [0, 1], [0, 1], np.eye(2), None)
    for ax in (heat.axes[0], axes[0, 0]):
        assert ax.collections[0].get_rasterized()


def test_errors_are_crisp_and_few_of_them_have_a_box_each():
    x = np.linspace(-1, 1, 5)
    fine = np.where(np.linspace(-1, 1, 40) > 0, 0.25, 0.0) * np.ones((40, 1))

    def fill(figure, a, b):
        plot.landscape(a, x, x, np.exp(x)[:, None] + x**2, fine)
        few = plot.error_bar(figure, a, fine)
        assert [t.get_text() for t in few.ax.get_yticklabels()] == ["0", "0.25"]
        many = plot.error_bar(figure, b, np.linspace(0, 1, 9))
        assert many.mappable.get_clim() == (0, 1)

    figure, found = drawn(fill)
    assert found == []
    (image,) = figure.axes[0].images
    np.testing.assert_array_equal(image.get_array(), fine)  # in its own resolution
    left, right, *_ = image.get_extent()
    assert left == pytest.approx(-1 - 1 / 39)  # the first point is the centre of the first cell
    assert right == pytest.approx(1 + 1 / 39)
    assert figure.axes[0].get_xlim() == (-1, 1)


def test_a_batch_and_many_tokens_have_one_place_in_the_legend(vectors):
    one, batch = vectors

    def entries(trajectories, name="margins"):
        with plot.paper():
            _, axes = plot.panels(1, 1, 2.0)
            plot.traces(axes[0, 0], trajectories, name)
        return axes[0, 0], [text.get_text() for text in axes[0, 0].get_legend().get_texts()]

    ax, said = entries([("η = 1", one), ("η = 2", one)])
    assert said == ["η = 1", "η = 2"]
    assert len(ax.lines) == 2 * 200
    np.testing.assert_array_equal(ax.lines[3].get_ydata(), one.observed["margins"][:, 3])
    ax, said = entries([("seeds", batch)], "loss")
    assert said == [f"seeds, run {i}" for i in range(3)]
    np.testing.assert_array_equal(ax.lines[2].get_ydata(), batch.observed["loss"][2])
    np.testing.assert_array_equal(ax.lines[2].get_xdata(), batch.times[2])
    assert len({line.get_color() for line in ax.lines}) == 3
    ax, said = entries([("same", one)] * 200, "loss")
    assert said == ["same"]
    ax, said = entries([(f"run {i}", one) for i in range(200)], "loss")
    assert said == ["run 0", "… 198 more …", "run 199"]
    assert len({tuple(line.get_color()) for line in ax.lines}) > 100


@pytest.fixture(scope="module")
def vectors():
    """(a run with the margins of 200 tokens, a batch of three): no simulation, only its container."""
    from assocmem_jax.dynamics import Trajectory

    steps, draws = np.arange(5), np.random.default_rng(0)

    def made(*batch):
        times = np.broadcast_to(steps * 0.5, (*batch, 5))
        observed = {"loss": draws.random((*batch, 5)), "margins": draws.random((*batch, 5, 200))}
        zeros = np.zeros(batch, int)
        ends = dict(status=zeros, first_hit=zeros + 0.0, stable_hit=zeros + 0.0, first_step=zeros,
                    stable_step=zeros, num_steps=zeros)  # fmt: skip
        steps_made = np.broadcast_to(steps, (*batch, 5))
        return Trajectory(**jax.tree.map(jnp.asarray, ends | dict(times=times, steps=steps_made)),
                          observed=observed, model=am.LinearMemory(np.zeros((2, 2))))  # fmt: skip

    return made(), made(3)


def test_plot_shows_what_is_ours():
    assert dir(am.plot) == sorted(am.plot.__all__)
    homes = {
        getattr(value, "__module__", plot.__name__) for value in (getattr(plot, name) for name in dir(plot))
    }
    assert homes <= {plot.__name__}


def test_logarithmic_axes_of_nothing():
    """No point that can be drawn: axes all the same, and no warning."""

    def fill(figure, a, b):
        plot.points(a, [], [], [])
        plot.log_axes(a)

    figure, _ = drawn(fill)
    assert min(*figure.axes[0].get_xlim(), *figure.axes[0].get_ylim()) > 0


@pytest.mark.parametrize("styled", [False, True])
def test_a_figure_is_saved_as_matplotlib_saves_it(styled, tmp_path):
    """The PNG's bytes, in ``paper()`` and with settings of matplotlib's own; the figure is as it was."""
    with plot.paper() if styled else contextlib.nullcontext():
        made = []
        for _ in range(2):
            figure, axes = plot.panels(1, 2, 2.2)
            curves(axes[0, 0], 2)
            if styled:
                plot.legend(figure)
            made.append(figure)
        before = made[0].dpi, made[0].canvas, made[0].get_layout_engine()
        plot.save(made[0], tmp_path / "ours")
        made[1].savefig(tmp_path / "theirs.png")
        assert (made[0].dpi, made[0].canvas, made[0].get_layout_engine()) == before
    ours, theirs = ((tmp_path / f"{name}.png").read_bytes() for name in ("ours", "theirs"))
    assert ours == theirs
    assert (tmp_path / "ours.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("loss", [0.0, 1e-6, 0.7, 0.7 * (1 + 1e-16 * np.arange(3)), np.inf])
def test_a_plain_has_no_level_lines(loss):
    with plot.paper():
        _, axes = plot.panels(1, 1, 2)
        plot.landscape(axes[0, 0], np.arange(3.0), np.arange(3.0), np.zeros((3, 3)) + loss)


def test_glyphs_that_the_font_lacks_are_not_said_each_time(recwarn, caplog, tmp_path):
    from types import SimpleNamespace

    from assocmem_jax.commands.common import draw

    def figure(data):
        made, axes = plot.panels(1, 1, 2)
        axes[0, 0].set_title("漢字 $漢$")
        return made

    assert plot.settable("漢字 $漢$")
    draw(SimpleNamespace(precision="float64", figure=figure), None, tmp_path / "f")
    assert (tmp_path / "f.pdf").is_file()
    assert [*map(str, recwarn), *caplog.messages] == []
