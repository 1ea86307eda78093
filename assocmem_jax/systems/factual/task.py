"""Factual recall, Slides p. 19: a subject and a relation somewhere in a text, the answer at its end."""

import itertools
import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ... import checks
from ...numerics import information
from ...tasks import AbstractClassificationTask, cross_entropy, laws
from ...tasks.losses import lead

# Texts that a population loss may be over, when its noise is enumerated.
MOST_TEXTS = 1_000_000


class Questions(NamedTuple):
    """Texts z_1 … z_T, the last EOS, as ``tokens`` of shape (n, T), and their ``answers`` a*(s, r), (n,)."""

    tokens: Int[Array, "n t"]
    answers: Int[Array, " n"]


@runtime_checkable
class Answers(Protocol):
    """one with scores(task, tokens=None) and logits(tokens); build it from this task"""

    def scores(self, task: Any, tokens: Int[Array, " b"] | None = None) -> Float[Array, "b m"]:
        """Logits of the texts of ``task.data`` (of those named)."""
        ...

    def logits(self, tokens: Int[Array, "n t"]) -> Float[Array, "n m"]:
        """Logits of the R·D answers after each text."""
        ...


class FactualTask(AbstractClassificationTask):
    """s ~ p(s) and r ~ p(r) stand at two distinct uniform places of a text of length T, uniform noise at the
    others, EOS at the end; the answer is a*(s, r). Slides p. 19; Nichani, Lee, Bietti 2025.

    - ``facts``: a*(s, r), whole numbers of shape (S, R). ``answers``: D; those of relation r are the block
      A_r = {rD, …, (r+1)D − 1}. Made by ``balanced``, ``random`` and ``injective``.
    - ``noise``: types of noise tokens. ``length``: T. Tokens are numbered subjects 0 … S−1, relations S …
      S+R−1, noise, EOS last.
    - ``subjects_law``, ``relations_law``: p(s), p(r), such as ``am.laws.zipf(S)``; uniform unless given.
    - ``mentions``: how often the subject and the relation are in a text, each time at a place of its own.
    - ``draws``, ``key``: the population loss is the mean over (s, r), exactly, and over so many texts drawn
      once, places and noise the same for every pair; ``"all"``: over every multiset of noise tokens.

    That all pairs share their noise makes the flow of a ``LinearAttentionRecall`` that starts symmetric exact
    for any ``draws``. No model here knows where a token stands. The loss is the cross-entropy.
    """

    loss_units: ClassVar[str] = "nats"
    facts: Int[Array, "s r"]
    subjects_law: Float[Array, " s"] | None
    relations_law: Float[Array, " r"] | None
    data: Questions
    weights: Float[Array, " n"]
    answers: int = eqx.field(static=True)
    noise: int = eqx.field(static=True)
    length: int = eqx.field(static=True)
    mentions: tuple[int, int] = eqx.field(static=True)

    def __init__(
        self,
        facts,
        answers: int,
        *,
        noise: int = 20,
        length: int = 32,
        subjects_law=None,
        relations_law=None,
        mentions: tuple[int, int] = (1, 1),
        draws: int | str = 4,
        key: PRNGKeyArray | None = None,
    ):
        facts = jnp.asarray(checks.array("facts", facts, "whole numbers of shape (S, R)"))
        checks.shaped("facts", facts, "of shape (S, R)", 2)
        if not jnp.issubdtype(facts.dtype, jnp.integer):
            checks.refuse("facts", "whole numbers", facts.dtype)
        S, R = facts.shape
        if not facts.size:
            checks.refuse("facts", "of at least one subject and one relation", f"shape {facts.shape}")
        self.answers = checks.count("answers", answers)
        if checks.concrete(facts):
            known = np.asarray(facts)
            outside = known // self.answers != np.arange(R)
            if outside.any():
                s, r = np.argwhere(outside)[0].tolist()
                low = r * self.answers
                checks.refuse(
                    f"facts[{s}, {r}]", f"in the block of its relation, {low} to {low + self.answers - 1}",
                    known[s, r],
                )  # fmt: skip
        self.facts = facts.astype(jnp.int32)
        if not (isinstance(mentions, tuple | list) and len(mentions) == 2):
            checks.refuse("mentions", "two whole numbers", checks.short(mentions))
        one, other = (checks.count(f"mentions[{k}]", count) for k, count in enumerate(mentions))
        self.mentions, self.length = (one, other), checks.count("length", length)
        taken = one + other + 1
        if self.length < taken:
            checks.refuse("length", f"at least {taken}: subject, relation and EOS", length)
        self.noise = checks.count("noise", noise, 0)
        if self.length > taken and self.noise == 0:
            checks.refuse("noise", f"at least 1 for texts of length {length}", 0, f"or length={taken}")
        given = {"subjects_law": (subjects_law, S), "relations_law": (relations_law, R)}
        self.subjects_law, self.relations_law = (_law(name, *law) for name, law in given.items())
        key = jr.key(0) if key is None else key
        checks.key("key", key)
        form, p = self._form, self.pair_probabilities
        if isinstance(draws, str) and draws == "all":
            self.data, self.weights = _population(form, self.facts, p, *_every_noise(form))
        else:
            n = checks.count("draws", draws, 1, "or draws='all'")
            self.data, self.weights = _sampled_population(form, self.facts, p, key, n)

    @classmethod
    @checks.takes(key=checks.KEY)
    def balanced(
        cls, subjects: int, relations: int, answers: int, key: PRNGKeyArray, **options: Any
    ) -> "FactualTask":
        """Every answer of a relation is that of S/D subjects, drawn uniformly; D must divide S."""
        S, R, D = _sizes(subjects, relations, answers)
        if S % D:
            checks.refuse(
                "answers", f"a divisor of subjects = {S} for balanced facts", D, "or FactualTask.random"
            )
        return cls(_shuffled(key, S, R, D), D, key=jr.fold_in(key, 1), **options)

    @classmethod
    @checks.takes(key=checks.KEY)
    def random(
        cls, subjects: int, relations: int, answers: int, key: PRNGKeyArray, **options: Any
    ) -> "FactualTask":
        """a*(s, r) independent and uniform in A_r."""
        S, R, D = _sizes(subjects, relations, answers)
        return cls(laws.below(key, (S, R), D) + D * jnp.arange(R), D, key=jr.fold_in(key, 1), **options)

    @classmethod
    @checks.takes(key=checks.KEY)
    def injective(
        cls, subjects: int, relations: int, answers: int, key: PRNGKeyArray, **options: Any
    ) -> "FactualTask":
        """No two subjects share an answer, which is uniform otherwise; D must be at least S."""
        S, R, D = _sizes(subjects, relations, answers)
        if D < S:
            checks.refuse("answers", f"at least subjects = {S} for injective facts", D)
        return cls(_shuffled(key, D, R, D)[:S], D, key=jr.fold_in(key, 1), **options)

    @property
    def subjects(self) -> int:
        """S."""
        return self.facts.shape[0]

    @property
    def relations(self) -> int:
        """R."""
        return self.facts.shape[1]

    @property
    def num_tokens(self) -> int:
        """V = S + R + noise + 1."""
        return self.subjects + self.relations + self.noise + 1

    @property
    def num_answers(self) -> int:
        """R D."""
        return self.relations * self.answers

    @property
    def pair_probabilities(self) -> Float[Array, "s r"]:
        """p(s) p(r)."""
        laws_given = (self.subjects_law, self.relations_law)
        p, q = (laws.uniform(n) if law is None else law for n, law in zip(self.facts.shape, laws_given))
        return p[:, None] * q

    @property
    def symmetric(self) -> bool | Array:
        """Whether facts are balanced and both laws uniform: what the reduced system needs."""
        counts = jax.nn.one_hot(self.facts, self.num_answers, dtype=self.dtype).sum(axis=0)
        wanted = jnp.repeat(jnp.eye(self.relations), self.answers, axis=1) * self.subjects / self.answers
        even = jnp.max(jnp.abs(self.pair_probabilities * self.facts.size - 1))
        return jnp.all(counts == wanted) & (even <= 64 * jnp.finfo(self.dtype).eps * self.facts.size)

    @property
    def score_shape(self) -> tuple[int, int]:
        """(texts of ``data``, R D)."""
        return len(self.data.answers), self.num_answers

    @property
    def dtype(self) -> Any:
        return self.weights.dtype

    def loss(self, model: Answers) -> Float[Array, ""]:
        """Σ p(s) p(r) E_noise[−log p(a*(s, r) | text)], in nats."""
        return jnp.dot(self.weights, cross_entropy(model.scores(self), self.data.answers))

    def margins(self, model: Answers) -> Float[Array, " n"]:
        """Score of the right answer minus the largest other, for every text of ``data``."""
        return lead(model.scores(self), self.data.answers)

    def error(self, model: Answers) -> Float[Array, ""]:
        """Probability that the right answer has not the largest score; a tie is an error."""
        return jnp.dot(self.weights, jnp.where(self.margins(model) > 0, 0.0, 1.0))

    def first(
        self, subjects: int | Int[Array, ""], relations: int | Int[Array, ""] | None = None
    ) -> "FactualTask":
        """The first so many subjects (and relations, all unless given) only, in arrays of the same shape: the
        numbers may be traced. p(s) and p(r) are the laws given these; other texts have weight 0, and answers
        of the others can still be given."""
        S, R = self.facts.shape
        held = {"subjects": (subjects, S), "relations": (R if relations is None else relations, R)}
        p = self.pair_probabilities
        kept_laws = []
        for (name, (kept, size)), law in zip(held.items(), (p.sum(axis=1), p.sum(axis=0))):
            checks.within(name, kept, 1, size)
            law = jnp.where(jnp.arange(size) < kept, law, 0)
            kept_laws.append(law / law.sum())
        pairs = (kept_laws[0][:, None] * kept_laws[1]).reshape(-1, 1)
        weights = (pairs * self._chances).reshape(-1)
        where = lambda task: (task.subjects_law, task.relations_law, task.weights)  # noqa: E731
        return eqx.tree_at(where, self, (*kept_laws, weights), is_leaf=lambda x: x is None)

    @property
    def _chances(self) -> Float[Array, " k"]:
        """Probability of each text of ``data`` given its pair."""
        return self.weights.reshape(self.facts.size, -1).sum(axis=0)

    def recalled_bits(self, model: Answers) -> Float[Array, ""]:
        """Bits that right answers tell of the facts: ``theory.information.recalled``, among the tables that
        use each answer as often as this does, every fact counted once, whatever p(s) p(r)."""
        pairs = self.pair_probabilities > 0
        counts = jnp.sum(jax.nn.one_hot(self.facts, self.num_answers) * pairs[..., None], axis=0)
        tables = information.arranged(counts.reshape(self.relations, self.relations, self.answers))
        right = jnp.where(self.margins(model) > 0, 1.0, 0.0).reshape(*self.facts.shape, -1) @ self._chances
        n = jnp.sum(pairs)
        return information.recalled(jnp.trace(tables), n, self.answers, jnp.sum(right * pairs) / n)

    def sample(self, key: PRNGKeyArray, n: int) -> Questions:
        """n fresh texts."""
        return self.sampler(n)(key)

    def laws(self) -> tuple[Array, ...]:
        """The leaves that are laws: of subjects and of relations, where they are not uniform."""
        return tuple(law for law in (self.subjects_law, self.relations_law) if law is not None)

    def sampler(self, batch_size: int) -> Callable[[PRNGKeyArray], Questions]:
        """A function of a key that draws ``batch_size`` fresh texts, on the device."""
        n, form = checks.count("batch_size", batch_size), self._form
        pick_subject, pick_relation = (
            _picker(law, size) for law, size in zip((self.subjects_law, self.relations_law), self.facts.shape)
        )

        def draw(key):
            keys = jr.split(key, 4)
            s, r = pick_subject(keys[0], n), pick_relation(keys[1], n)
            return form.written(self.facts, s, r, form.places(keys[2], n), form.fill(keys[3], n))

        return draw

    def sampled_loss(self, model: Answers, batch: Questions) -> Float[Array, ""]:
        """Mean cross-entropy of a batch."""
        return jnp.mean(cross_entropy(model.logits(batch.tokens), batch.answers))

    @property
    def _form(self) -> "_Form":
        return _Form(self.subjects, self.relations, self.noise, self.length, self.mentions)


class _Form(NamedTuple):
    """How texts are laid out: all that is known when a program is compiled."""

    subjects: int
    relations: int
    noise: int
    length: int
    mentions: tuple[int, int]

    def places(self, key, n: int) -> Int[Array, "n k"]:
        """Distinct places before EOS, uniform: of the subject, then of the relation."""
        found: list[Array] = []
        for k, one in enumerate(jr.split(key, sum(self.mentions))):
            place = laws.below(one, (n,), self.length - 1 - k)
            for other in jnp.sort(jnp.stack(found), axis=0) if k > 1 else found:
                place = place + (place >= other)
            found.append(place)
        return jnp.stack(found, axis=1)

    def fill(self, key, n: int) -> Int[Array, "n t"]:
        """Uniform noise at all places before EOS."""
        return laws.digits(key, n, self.length - 1, max(self.noise, 1))

    def written(self, facts, s, r, places, fill) -> Questions:
        """Texts with s and r at their places, noise at the others, EOS last."""
        S, R = self.subjects, self.relations
        text, at = S + R + fill, jnp.arange(self.length - 1)
        for k in range(sum(self.mentions)):
            token = s if k < self.mentions[0] else S + r
            text = jnp.where(at == places[:, k : k + 1], token[:, None], text)
        end = S + R + self.noise
        tokens = jnp.pad(text.astype(jnp.int32), ((0, 0), (0, 1)), constant_values=end)
        return Questions(tokens, facts[s, r])


@eqx.filter_jit
def _population(form: _Form, facts, p, places, fill, chances) -> tuple[Questions, Array]:
    """(every pair in each of the texts given, their probabilities)."""
    s, r = (jnp.repeat(a.reshape(-1), len(chances)) for a in jnp.indices(facts.shape))
    tile = lambda a: jnp.tile(a, (facts.size, 1))  # noqa: E731
    return form.written(facts, s, r, tile(places), tile(fill)), (p.reshape(-1, 1) * chances).reshape(-1)


@eqx.filter_jit
def _sampled_population(form: _Form, facts, p, key, n: int) -> tuple[Questions, Array]:
    places, fill = form.places(jr.fold_in(key, 1), n), form.fill(key, n)
    return _population(form, facts, p, places, fill, jnp.full(n, 1 / n, p.dtype))


def _every_noise(form: _Form) -> tuple[Array, Array, Array]:
    """(places, noise, probability) of every multiset of noise tokens."""
    taken = sum(form.mentions)
    count = form.length - 1 - taken
    sets = math.comb(form.noise + count - 1, count) if count else 1
    if sets * form.subjects * form.relations > MOST_TEXTS:
        checks.refuse(
            "draws", f"a number, or such that there are at most {MOST_TEXTS} texts",
            f"'all' of {sets} fillings for {form.subjects * form.relations} pairs",
        )  # fmt: skip
    fill = [*itertools.combinations_with_replacement(range(form.noise), count)]
    ways = [math.factorial(count) / math.prod(map(math.factorial, np.bincount(row))) for row in fill]
    # Where a token stands matters to no model: subject and relation come first.
    padded = np.pad(np.array(fill, np.int32).reshape(sets, count), ((0, 0), (taken, 0)))
    places = np.tile(np.arange(taken, dtype=np.int32), (sets, 1))
    chances = np.array(ways) / max(form.noise, 1) ** count
    return jnp.asarray(places), jnp.asarray(padded), jnp.asarray(chances, float)


def _sizes(subjects, relations, answers) -> tuple[int, int, int]:
    named = {"subjects": subjects, "relations": relations, "answers": answers}
    S, R, D = (checks.count(name, value) for name, value in named.items())
    return S, R, D


def _law(name: str, law: Any, size: int) -> Float[Array, " n"] | None:
    if law is None:
        return None
    (law,) = checks.floats(**{name: law})
    if law.shape != (size,):
        checks.refuse(name, f"of shape ({size},)", f"shape {law.shape}")
    laws.check(name, law)
    return law


@eqx.filter_jit
def _shuffled(key, rows: int, relations: int, answers: int) -> Int[Array, "s r"]:
    """Columns that are shuffled lists of the block of each relation, again and again."""
    column = jnp.arange(rows) % answers
    columns = [jr.permutation(k, column) for k in jr.split(key, relations)]
    return jnp.stack(columns, axis=1) + answers * jnp.arange(relations)


def _picker(law: Any, size: int) -> Callable[[PRNGKeyArray, int], Int[Array, " n"]]:
    """A function (key, count) that draws from a law, or uniformly without one."""
    return (lambda key, n: laws.below(key, (n,), size)) if law is None else laws.drawer(law)
