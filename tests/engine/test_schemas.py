"""Keys of configs: their defaults and bounds as tests/keys.json has them, and what must fit together, from both
sides."""

import inspect
import json
import re
import types
from pathlib import Path
from typing import Annotated, Literal, Union, get_args, get_origin

import pytest

import assocmem_jax as am
from assocmem_jax.commands.configs import json_schema
from assocmem_jax.studies.config import ConfigError, _models, load
from assocmem_jax.studies.registry import entries, schema
from assocmem_jax.studies.study import DISTINCT, Axis, Range, tables
from assocmem_jax.studies.user import OPTIONS, Law, Sampled, UserSweep
from assocmem_jax.systems import configs
from surface import write

KEPT = Path(__file__).parents[1] / "keys.json"
SAID = ("default", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems",
        "minLength", "maxLength", "enum", "const", "pattern", "additionalProperties")  # fmt: skip


def keys():
    """{schema: {key: its default and bounds}}, of all schemas that configs have."""
    return {
        name: {
            key: {word: found[word] for word in SAID if word in found}
            for key, found in schema.get("properties", {}).items()
        }
        for name, schema in sorted(json.loads(json_schema())["$defs"].items())
    }


def test_keys_defaults_and_bounds_are_those_that_are_written_down():
    """Written anew by ``python tests/engine/test_schemas.py``, where a default is meant to be another."""
    assert keys() == json.loads(KEPT.read_text(encoding="utf-8"))


# Numbers of which any finite one is right, and why.
ANYWHERE = {
    "inputs": "a coordinate of an embedding", "outputs": "a coordinate of an embedding",
    "start": "a weight", "window": "a weight, an end of the picture",
    "zipf_exponent": "am.laws.zipf holds for every exponent: 0 is uniform, below it the last is the likeliest",
    "RealRange.values": "log(p₁/p₂), an axis of gd_fig3", "RealRange.linear": "log(p₁/p₂), an axis of gd_fig3",
    "Axis.values": "of a function of the user's", "Axis.linear": "of a function of the user's",
    "Law.uniform": "of a function of the user's", "UserSweep.fixed": "of a function of the user's",
}  # fmt: skip


def numbers(annotation, limits=()):
    """The limits of every number in an annotation."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        found = [rule for part in parts[1:] for rule in getattr(part, "metadata", [part])]
        yield from numbers(parts[0], (*limits, *found))
    elif annotation in (int, float):
        yield [name for rule in limits for name in ("gt", "ge", "lt", "le") if hasattr(rule, name)]
    elif origin is not Literal:
        kept = limits if origin in (Union, types.UnionType) else ()
        for part in parts:
            yield from numbers(part, kept)


def test_every_number_has_a_domain():
    """A key without one was taken, and ran, at correlations of 3 and at rates of -1."""
    counted, free = 0, {}
    for section in {inner for name in entries() for inner in schemas(schema(name))}:
        for key, field in section.model_fields.items():
            for limits in numbers(field.annotation, tuple(field.metadata)):
                counted += 1
                if not limits:
                    free[f"{section.__name__}.{key}"] = key
    assert counted > 300
    assert {name if name in ANYWHERE else key for name, key in free.items()} == set(ANYWHERE)


OUTSIDE = [
    ("gd_fig3", "alpha={values=[3.0]}", "alpha.values.0 = 3.0: must be less than or equal to 1"),
    ("gd_fig3", "alpha={linear=[0.5, 1.5, 3]}", "alpha.linear.1 = 1.5: must be less than or equal to 1"),
    ("gd_fig3", "alpha={log=[-0.5, 0.5, 3]}", "alpha.log.0 = -0.5: must be greater than 0"),
    ("gd_fig3", "learning_rate={values=[-1.0]}", "learning_rate.values.0 = -1.0: must be greater than 0"),
    ("gd_fig3", "alpha={linear=[0, 1, 2000000000]}", "alpha.linear.2 = 2000000000: must be less than or equal to 67108864"),
    ("facts_order", "answers={values=[1.0]}", "answers.values.0 = 1.0: must be greater than or equal to 2"),
    ("facts_order", "subjects={values=[-1]}", "subjects.values.0 = -1: must be greater than or equal to 2"),
    ("facts_order", "start={linear=[0.0, 1.0, 3]}", "start.linear.0 = 0.0: must be greater than 0"),
    ("facts_order", "panel_answers=0.5", "panel_answers = 0.5: must be greater than or equal to 2"),
    ("context_overtaking", "noise={values=[2.0]}", "noise.values.0 = 2.0: must be less than or equal to 1"),
    ("context_overtaking", "tokens={values=[-5]}", "tokens.values.0 = -5: must be greater than or equal to 2"),
    ("hops_construction", "betas={values=[0.0]}", "betas.values.0 = 0.0: must be greater than 0"),
    ("real_words", "optimizers.adam={values=[-1.0]}", "optimizers.adam.values.0 = -1.0: must be greater than 0"),
    ("bifurcation", "systems.0.labels=[[1.5, -0.5]]", "systems.0.labels.0.0 = 1.5: must be less than or equal to 1"),
]  # fmt: skip


@pytest.mark.parametrize(("config", "change", "words"), OUTSIDE, ids=[change for _, change, _ in OUTSIDE])
def test_numbers_outside_of_their_domain(config, change, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        load(config, [change])


def test_the_json_schema_says_where_points_of_an_axis_may_be():
    fields = json.loads(json_schema("gd.learning_rates"))["$defs"]
    points = fields["CosineRange"]["properties"]["values"]["anyOf"][0]["items"]
    assert (points["minimum"], points["maximum"]) == (-1, 1)


def test_axes_of_ones_own_keep_whole_numbers_whole():
    assert [type(point) for point in Axis(values=(1, 2.5)).values] == [int, float]


TWO, THREE = "[[1.0], [2.0]]", "[[1.0], [2.0], [3.0]]"
WIDE = "[[1.0, 0.0], [0.0, 1.0]]"
GRID = ["cases=[]", "grid.rates=[1.0, 2.0]"]
ANY = "a simplified model has 1 or 2 layers, one head and no norm"
PLAIN = "birth_fig4_probes"
FEATURES = "features need widths, and nothing else has them"
# config, what is set and taken, what is set and refused, the words of it
PAIRS = [
    ("gd_fig2", ["window=[0.0, 0.1, 0.0, 0.1]"], ["window=[0.1, 0.1, 0.0, 0.1]"], "window must be [x0, x1, y0, y1] with x0 < x1"),
    ("gd_fig2", ["window=[0.0, 0.1, -0.1, 0.1]"], ["window=[0.0, 0.1, 0.1, 0.1]"], "window must be [x0, x1, y0, y1] with x0 < x1"),
    ("gd_fig2", ["horizon=35"], ["horizon=34"], "horizon must be at least steps = 35, got 34"),
    ("gd_fig5", ["steps=10", "horizon=12"], ["steps=10", "horizon=11"], "horizon must be at least steps + 2 = 12, got 11"),
    ("gd_fig6", ["shown=9", "steps=9", "horizon=9"], ["shown=10", "steps=9", "horizon=9"], "shown ≤ steps ≤ horizon must hold, got 10, 9, 9"),
    ("gd_fig6", ["shown=9", "steps=9", "horizon=9"], ["shown=9", "steps=9", "horizon=8"], "shown ≤ steps ≤ horizon must hold, got 9, 9, 8"),
    ("gd_fig6", [f"panels=[{{inputs={TWO}, outputs={TWO}}}, {{inputs={WIDE}, outputs={TWO}}}]"],
     [f"panels=[{{inputs={TWO}, outputs={TWO}}}, {{inputs={THREE}, outputs={THREE}}}]"], "panels must all have the same number of tokens"),
    ("bifurcation", [], [f"systems.0.inputs={TWO}"], "must have as many inputs (2) and labels (1) as probabilities (1)"),
    ("bifurcation", [], [f"systems.0.labels={WIDE}"], "must have as many inputs (1) and labels (2) as probabilities (1)"),
    ("bifurcation", [], ["systems.0.probabilities=[0.5, 0.5]"], "must have as many inputs (1) and labels (1) as probabilities (2)"),
    ("bifurcation", [], ["systems.0.labels=[[0.4, 0.5]]"], "labels[0] must sum to one, got 0.9"),
    ("bifurcation", ["systems.2.probabilities=[0.25, 0.25, 0.5]"], ["systems.2.probabilities=[0.25, 0.25, 0.25]"], "probabilities must sum to one, got 0.75"),
    ("bifurcation", [], ["systems.2.inputs=[[1.0, 0.0], [1.0], [1.0, 0.0]]"], "inputs[1] must have 2 entries, got 1"),
    ("schedule", ["systems.0.weights=[1.0, 1.0, 1.0]", "systems.0.alpha=-0.5"], ["systems.0.weights=[1.0, 1.0, 1.0]", "systems.0.alpha=-0.6"], "alpha of 3 tokens must be at least −1/2"),
    ("schedule", ["smallest=1.0", "largest=1.1"], ["smallest=1.0", "largest=1.0"], "largest must be above smallest = 1, got 1"),
    ("slides_sizes_linear", ["families.0.smallest=3"], ["families.0.smallest=100000"], "smallest must be below every largest, got 100000 and "),
    ("facts_parameters", ["smallest=2"], ["smallest=100000"], "smallest must be below every largest, got 100000 and "),
    ("slides_optimizers", ["samples=1024"], ["samples=1023"], "batch 1024 is above samples = 1023"),
    ("slides_optimizers", ["at=50"], ["at=51"], "at = 51 must be one of dimensions"),
    ("slides_optimizers", ["zero_start=true", "cases.1.norm=false", "cases.5.norm=false"], ["zero_start=true", "cases.1.norm=false"], "layer norm has no value at W = 0"),
    ("slides_optimizers", [*GRID, "grid.batches=[2, 3]"], ["cases=[]"], "must have one of cases and grid"),
    ("slides_optimizers", [*GRID, "grid.batches=[2, 3]"], ["grid.rates=[1.0, 2.0]", "grid.batches=[2, 3]"], "must have one of cases and grid"),
    ("slides_sizes_linear", [], ["families.0.largest=[48]"], "must have as many largest (1) as dimensions (5)"),
    ("slides_sizes_linear", ["families.0.widths=[1, 2, 3, 4, 5]"], ["families.0.widths=[1]"], "linear needs widths, one for each of dimensions (5)"),
    ("slides_sizes_linear", ['families.0.memory="written"'], ['families.0.memory="mlp"'], "mlp needs widths, one for each of dimensions (5)"),
    ("slides_sizes_rank", [], ["families.0.widths=[]"], "low rank needs widths, one for each of dimensions (6)"),
    ("slides_sizes_rank", [], ["families.1.widths=[]"], "kernel needs widths, one for each of dimensions (5)"),
    ("real_words", ["pairs.steps=9", "pairs.horizon=9"], ["pairs.steps=9", "pairs.horizon=8"], "pairs.horizon must be at least steps = 9, got 8"),
    ("gd_diffusion", ["learning_rates=[0.5, 0.9999999995]", "horizon=1.0"], ["learning_rates=[0.5, 0.999999998]", "horizon=1.0"], "horizon = 1 must be a multiple of 1"),
    ("gd_diffusion", ["learning_rates=[0.5, 1.0]", "horizon=1.0"], ["learning_rates=[0.5, 1e10]", "horizon=1.0"], "horizon = 1 must be a multiple of 1e+10"),
    ("gd_diffusion", ["learning_rates=[0.1, 0.15]", "horizon=0.3"], ["learning_rates=[0.1, 0.2]", "horizon=0.3"], "horizon = 0.3 must be a multiple of 0.2"),
    ("gd_diffusion", ["steps=2"], ["steps=3"], "steps must be even, got 3"),
    ("slides_learned", ["cases.0.later=0.1", "cases.0.switch=2"], ["cases.0.later=0.1"], "later and switch go together"),
    ("slides_learned", ["cases.0.later=0.1", "cases.0.switch=2"], ["cases.0.switch=2"], "later and switch go together"),
    ("facts_hallucination", ["cases.0.answers=16"], ["cases.0.answers=7"], "answers must divide subjects = 16, got 7"),
    ("facts_hallucination", ["length=5"], ["length=4"], "length must be at least 5, got 4"),  # said three times
    ("facts_constructed", ["curves.0.ranks=[1, 2]"], ["curves.0.ranks=[1]"], "ranks must be as many as dimensions (2) or left out, got 1"),
    ("facts_constructed", ["curves.0.largest=[3, 4]"], ["curves.0.largest=[3]"], "largest must be as many as dimensions (2) or left out, got 1"),
    ("facts_constructed", [], ["curves.4.widths=[64]"], "widths must be as many as dimensions (2) or left out, got 1"),
    ("facts_constructed", [], ["curves.4.widths=[]"], FEATURES),
    ("facts_constructed", [], ["curves.0.widths=[1, 2]"], FEATURES),
    ("facts_constructed", ["curves.0.largest=[3, 4]"], ["curves.2.largest=[3, 4]"], "a search is of attention alone"),
    ("facts_parameters", [], ["shapes.0.head_widths=[1]"], "head_widths must be as many as dimensions (2)"),
    ("facts_parameters", [], ["shapes.0.widths=[1, 2, 3]"], "widths must be as many as dimensions (2)"),
    ("facts_parameters", [], ["shapes.0.largest=[]"], "largest must be as many as dimensions (2)"),
    ("context_truncation", ["heads=2"], ["heads=3"], "heads must divide width = 64"),
    ("context_truncation", [f'checkpoint="{__file__}"'], ['checkpoint="/none"'], "checkpoint: /none: no such file"),
    ("birth_fig8", ["fixed_rate=0.8"], ["fixed_rate=0.7"], "fixed_rate must be one of rates"),
    ("birth_three_steps", ["samples=6", "chunk=3"], ["samples=6", "chunk=4"], "chunk must divide samples"),
    (PLAIN, ["cases.0.layers=2"], ["cases.0.layers=3"], ANY),
    (PLAIN, ["cases.0.heads=1"], ["cases.0.heads=2"], ANY),
    (PLAIN, ["cases.0.norm=false"], ["cases.0.norm=true"], ANY),
    (PLAIN, ['cases.0.feedforward="linear"'], ['cases.0.feedforward="relu"'], "feedforward = 'relu' is for model = 'transformer'"),
    ("birth_fig2", ["cases.0.layers=3", "cases.0.heads=2", "cases.0.norm=true"], ['cases.0.frozen=["key2"]'], "frozen is for model = 'simplified'"),
    ("birth_fig2", ['show=["tested"]'], ['show=["teste"]'], "show: 'teste' is not one of in_context_accuracy, "),
    ("birth_fig2", ["steps=6", "every=1", "checkpoint_every=3"], ["steps=6", "every=1", "checkpoint_every=4"], "checkpoint_every must divide steps"),
    ("birth_fig2", ["steps=6", "every=25", "checkpoint_every=6"], ["steps=6", "every=25", "checkpoint_every=3"], "checkpoint_every must be a multiple of every = 25, got 3"),
    ("birth_fig2", ['cases.1.label="one"'], ['cases.1.label="K = 3, fixed"'], "cases must have labels of their own"),
    (PLAIN, ['maps="memories"'], ['maps="memories"', "cases.0.layers=1"], "maps = 'memories' needs simplified models of two layers"),
    ("birth_fig2", ['maps="attention"'], ['maps="memories"'], "maps = 'memories' needs simplified models of two layers"),
    ("cooc_fig1_small", ["dimension=163"], ["dimension=162"], "distinct words need dimension ≥ 163, got 162"),  # Σ (L − signals) + 3
    ("cooc_fig1", ["dimension=4"], ["dimension=4", "distinct=true"], "distinct words need dimension ≥ 163, got 4"),
    ("denoising_contexts", ["rank=16"], ["rank=17"], "rank must be at most dimension = 16, got 17"),
    ("denoising_map", ["ranks=[16, 2]"], ["ranks=[17, 2]"], "ranks must be at most dimension = 16, got 17"),
    ("denoising_energy", ["rank=16"], ["rank=17"], "rank must be at most dimension = 16, got 17"),
    ("denoising_trained", ["rank=16"], ["rank=17"], "rank must be at most dimension = 16, got 17"),
    ("hops_construction", ["sizes=[[3, 1], [3, 8]]"], ["sizes=[[3, 1], [3, 6]]"], "hops must be a power of two, got 6"),
    ("hops_training", ["hops=2"], ["hops=3"], "hops must be a power of two, got 3"),
    ("hops_training", ["hops=4", "steps=3"], ["hops=4", "steps=2"], "steps must be at least 3, one for each k′, got 2"),
    ("slides_dense", ["curves.0.degree=2"], ["curves.0.degree=1"], "degree = 1 stores nothing"),
    ("slides_dense", [], ["curves.0.degree=0"], "largest must have one number for each of dimensions"),
    ("slides_dense", ["curves.0.largest=[9, 9, 9, 9, 9, 9]"], ["curves.0.largest=[9]"], "largest must have one number for each of dimensions"),
    ("noise_law", ["sequences=[256, 300]"], ["sequences=[255, 300]"], "sequences must be at least tokens = 256 for the laws, got 255"),
]  # fmt: skip


@pytest.mark.parametrize(("config", "taken", "refused", "words"), PAIRS, ids=[f"{p[0]}-{k}" for k, p in enumerate(PAIRS)])  # fmt: skip
def test_keys_that_must_fit_each_other(config, taken, refused, words):
    load(config, taken)
    with pytest.raises(ConfigError, match=re.escape(words)) as caught:
        load(config, refused)
    assert len(caught.value.lines) == 1


def schemas(model):
    """A schema and those of its tables."""
    yield model
    for field in model.model_fields.values():
        for inner in _models(field.annotation):
            yield from schemas(inner)


def sections(part):
    """A config and its tables, theirs too."""
    yield part
    for name in type(part).model_fields:
        for _, inner in tables(getattr(part, name)):
            yield from sections(inner)


# Lists of data, where one number may stand twice; the others are points of an axis, or curves.
DATA = {"counts", "dimensions", "inputs", "labels", "largest", "linear", "log", "outputs", "probabilities", "ranks",
        "report_at", "shown", "start", "starts", "weights", "widths", "window", "head_widths", "frozen"}  # fmt: skip


def test_points_of_an_axis_are_there_once():
    """Of two that are one, `sel` would give both: reports ended in a traceback."""
    once, data = set(), set()
    for part in (part for name in configs() for part in sections(load(name, []))):
        for name, field in type(part).model_fields.items():
            values = getattr(part, name)
            if DISTINCT in field.metadata and values:
                once.add(f"{type(part).__name__}.{name}")
                twice = {**dict(part), name: (values[0],) * max(2, len(values))}
                with pytest.raises(ValueError, match=r"must have each value once, got .* twice"):
                    type(part)(**twice)
            elif isinstance(values, tuple) and values and not tables(values):
                data.add(name)
    assert len(once) > 50
    assert data <= DATA


def test_ends_of_a_range_differ():
    for way, low, high in (("linear", 1.0, 2.0), ("log", 1.0, 2.0)):
        Range(**{way: (low, high, 2)})
        assert Range(**{way: (low, low, 1)}).points().tolist() == [low]
        with pytest.raises(ValueError, match=f"{way}: 2 points need low and high that differ, got 1 twice"):
            Range(**{way: (low, low, 2)})
        # 1,000 points of 2⁻⁴⁰ are apart (2⁻⁵⁰ each), of 2⁻⁴⁵ are not; nor is a span that overflows.
        assert len(set(Range(**{way: (low, low + 2**-40, 1000)}).points().tolist())) == 1000
        with pytest.raises(
            ValueError, match=f"{way}: 1000 points that differ must fit between 1.0 and 1.0000"
        ):
            Range(**{way: (low, low + 2**-45, 1000)})
    with pytest.raises(ValueError, match="linear: 3 points that differ must fit between"):
        Range(linear=(-1.7e308, 1.7e308, 3))


def test_laws_of_a_sweep_of_ones_own():
    for given in ({"uniform": (1.0, 1.1)}, {"log_uniform": (1.0, 1.1)}):
        Law(**given)
    for given, words in (
        ({}, "must have one of uniform and log_uniform"),
        ({"uniform": (1.0, 2.0), "log_uniform": (1.0, 2.0)}, "must have one of uniform and log_uniform"),
        ({"uniform": (1.0, 1.0)}, "low < high, got [1.0, 1.0]"),
        ({"log_uniform": (2.0, 1.0)}, "low < high, got [2.0, 1.0]"),
    ):
        with pytest.raises(ValueError, match=re.escape(words)):
            Law(**given)


@pytest.mark.parametrize(
    "item", ["learning_rates.²=1.0", f"learning_rates.{'9' * 5000}=1.0", "steps=5\nseed=7"]
)
def test_what_is_set_is_one_value_at_an_index_of_digits(item):
    with pytest.raises(ConfigError, match=r"is not a (key or an index that exists|TOML value)") as caught:
        load("gd_fig5", [item])
    assert len(caught.value.lines) == 1


def test_a_parameter_has_the_name_of_no_option():
    """It would be taken for that option: the function never saw it."""
    assert {*inspect.signature(am.sweep).parameters} - {"axes"} == OPTIONS
    law = {"laws": {"a": Law(uniform=(0.0, 1.0))}, "n": 2}
    UserSweep(study="sweep", function="os:getcwd", fixed={"c": 1}, sampled={"b": Sampled(**law)})
    for name in OPTIONS:
        renamed = law | {"laws": {name: Law(uniform=(0.0, 1.0))}}
        for keys in (
            {"fixed": {name: 1}}, {"axes": {name: Axis(values=(1,))}}, {"sampled": {name: Sampled(**law)}},
            {"sampled": {"b": Sampled(**renamed)}},
        ):  # fmt: skip
            with pytest.raises(ValueError, match=f"other names than options of am.sweep, got {name}"):
                UserSweep(study="sweep", function="os:getcwd", **keys)


if __name__ == "__main__":
    write(KEPT, keys())
