"""Planted faults: each is applied to a copy of the package, and the tests named must then fail.

Run: python tests/faults.py [NAME …]. Prints one line a fault; exit code 1 if any goes unnoticed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent

# name: (file, the right code, the fault, tests that must catch it)
FAULTS = {
    "sign of the descent on particles": ("models/particles.py", "moved = product(product(self.alpha, gradient.values)", "moved = -product(product(self.alpha, gradient.values)", "test_models.py -k equation_12"),
    "transposed W": ("models/memory.py", "return task.logits(product(e, self.weight.T))", "return task.logits(e @ (self.weight.T if self.weight.shape[0] != self.weight.shape[1] else self.weight))", "test_models.py -k plane"),
    "gradient off by a ten-millionth": ("observe/gradient.py", "return task.outputs.T @ pull.T @ task.inputs", "return (task.outputs.T @ pull.T @ task.inputs) * 1.0000001", "test_observe.py -k loops"),
    "sum instead of mean over the batch": ("tasks/association.py", "return jnp.mean(cross_entropy(model.scores(self, tokens), labels))", "return jnp.sum(cross_entropy(model.scores(self, tokens), labels))", "test_tasks.py -k batches"),
    "dropped p(x)": ("observe/gradient.py", "pull = task.probabilities[:, None] * score_gradient", "pull = score_gradient", "test_observe.py -k loops"),
    "loss by 1 - p": ("tasks/association.py", "return jax.nn.softplus(jax.nn.logsumexp(others - own, axis=-1))", "return -jnp.log(1 - jnp.exp(-jax.nn.softplus(-jax.nn.logsumexp(others - own, axis=-1))))", "test_observe.py -k 700"),
    "slope of the loss without its label": ("tasks/association.py", "return jnp.where(label, -jnp.sum(others, axis=-1, keepdims=True), others)", "return others", "test_observe.py -k loops"),
    "1 - p by subtraction": ("tasks/association.py", "return jnp.where(label, -jnp.sum(others, axis=-1, keepdims=True), others)", "return jnp.where(label, p - 1, others)", "test_flow.py -k 'binary_orthogonal or two_particles or many_classes_from_zero'"),
    "factor one half in (19)": ("theory/two_particles.py", "return c / 2 * jnp.stack([(1 + alpha)", "return c * jnp.stack([(1 + alpha)", "test_theory.py -k equations_agree"),
    "sign of alpha in (17)": ("theory/two_particles.py", "return c * (pull - alpha * pull[::-1])", "return c * (pull + alpha * pull[::-1])", "test_theory.py -k equations_agree"),
    "one Newton step too few in lambda": ("theory/special.py", "for _ in range(6):\n        e = jnp.exp(m)", "for _ in range(3):\n        e = jnp.exp(m)", "test_theory.py -k whole_range"),
    "derivative of lambda": ("theory/special.py", "return m, jax.nn.sigmoid(-m) * dy", "return m, jax.nn.sigmoid(m) * dy", "test_theory.py -k lam_derivatives"),
    "constant of the loss bound": ("theory/orthogonal.py", "LOSS_CONSTANT = 1.07943", "LOSS_CONSTANT = 1.00000", "test_theory.py -k 'constants or theorem_2'"),
    "noise of the wrong size": ("dynamics/stochastic.py", "w = jax.tree.map(lambda n: jnp.sqrt(h) * n, noise(w_key))", "w = jax.tree.map(lambda n: h * n, noise(w_key))", "test_stochastic.py -k brownian"),
    "zero noise": ("dynamics/stochastic.py", "w = jax.tree.map(lambda n: jnp.sqrt(h) * n, noise(w_key))", "w = jax.tree.map(lambda n: 0 * n, noise(w_key))", "test_stochastic.py -k 'brownian or distinct'"),
    "reused key": ("dynamics/stochastic.py", "jr.fold_in(key, step * self.refine + j)", "jr.fold_in(key, (step * self.refine + j) // 2)", "test_stochastic.py -k distinct"),
    "noise keyed by rounded time": ("dynamics/stochastic.py", "jr.fold_in(key, step * self.refine + j)", "jr.fold_in(key, (step * dt).astype(jnp.int32))", "test_stochastic.py -k distinct"),
    "sign in Chen's relation": ("dynamics/stochastic.py", "(length * (a - v / 2) + h * (b + u / 2)) / total", "(length * (a + v / 2) + h * (b - u / 2)) / total", "test_stochastic.py -k order"),
    "reused batch": ("dynamics/descent.py", "draw(jr.fold_in(key, step))", "draw(key)", "test_descent.py -k sgd"),
    "no compensation in float32": ("dynamics/descent.py", "compensated = dtype == jnp.float32 and self.steps > FLOAT32_UPDATES", "compensated = False and self.steps > FLOAT32_UPDATES", "test_descent.py -k stall"),
    "off-by-one stable hit": ("dynamics/marching.py", "since_step = jnp.where(holds, jnp.where(fresh, lane.step, lane.since_step), -1)", "since_step = jnp.where(holds, jnp.where(fresh, lane.step + 1, lane.since_step), -1)", "test_descent.py -k hits"),
    "a lane that ended moves on": ("dynamics/marching.py", "kept = jax.tree.map(lambda a, b: jnp.where(active & sound, a, b), moved, lane)", "kept = moved", "test_descent.py -k 'hits or siblings'"),
    "wrong tableau weight": ("dynamics/stiff.py", "b + (b - a) * (i + 1) / order", "b + (b - a) * (i + 1) / (order + 0.01)", "test_flow.py -k 'ExtrapolatedEuler'"),
    "factor of log time": ("dynamics/flow.py", "speed = -(1 + flow.time(s)) if flow.log_time else -1.0", "speed = -jnp.maximum(1.0, flow.time(s)) if flow.log_time else -1.0", "test_flow.py -k any_length"),
    "flow cast to float32": ("dynamics/flow.py", "gradient = combine(params).tangent(task, jax.grad(lambda p: task.loss(combine(p)))(params))", "gradient = jax.tree.map(lambda g: g.astype(jnp.float32).astype(g.dtype), combine(params).tangent(task, jax.grad(lambda p: task.loss(combine(p)))(params)))", "test_flow.py -k all_saved"),
    "Hessian without its mean": ("observe/curvature.py", "centred = task.outputs - (p @ task.outputs)[:, None, :]  # (N, M, k): u_z − ū_x", "centred = task.outputs - 0 * (p @ task.outputs)[:, None, :]", "test_observe.py -k loops"),
    "Lanczos without its guard": ("observe/curvature.py", "broken = b <= 10 * eps * jnp.sqrt(size) * scale", "broken = b < 0", "test_observe.py -k 'one_hot or hard'"),
    "biased sampler": ("tasks/association.py", 'place = jnp.searchsorted(cdf, uniforms(token_key) * cdf[-1], side="right")', 'place = jnp.searchsorted(cdf, uniforms(token_key) ** 1.01 * cdf[-1], side="right")', "test_tasks.py -k chi"),
    "sampler with a float32 grid": ("tasks/association.py", "bits.astype(dtype) + jnp.asarray(0.5, dtype)", "(bits >> 12 << 12).astype(dtype) + jnp.asarray(0.5, dtype)", "test_tasks.py -k rare"),
    "non-PSD Gram accepted": ("tasks/embeddings.py", "if float(values[0]) < -4 * slack:", "if float(values[0]) < -4e9:", "test_calls.py"),
    "a tie counts as right": ("tasks/association.py", "sure = (lead(scores, top) > 0)", "sure = (lead(scores, top) >= 0)", "test_observe.py -k ties"),
    "layer norm not projected": ("models/memory.py", "return task.logits(hidden / jnp.linalg.norm(hidden, axis=1, keepdims=True))", "return hidden / jax.lax.stop_gradient(jnp.linalg.norm(hidden, axis=1, keepdims=True)) @ task.outputs.T", "test_observe.py -k birth_38"),
    "hash blind to the config": ("config.py", "return hashlib.sha256(self.canonical().encode()).hexdigest()", "return hashlib.sha256(self.study.encode()).hexdigest()", "test_cli.py -k rerun"),
    "max margin scaled": ("observe/separation.py", "return MaxMargin(True, direction, 1 / norm, multipliers, off)", "return MaxMargin(True, direction, 1 / norm**2, multipliers, off)", "test_observe.py -k interior"),
    "a hit one step early": ("dynamics/perfect.py", "first = jnp.minimum(first, jnp.where(holds, t + 1, _NEVER))", "first = jnp.minimum(first, jnp.where(holds, t, _NEVER))", "test_sweeps.py -k numpy_loop"),
    "a lasting hit one step early": ("dynamics/perfect.py", "since = jnp.where(holds, since, t + 2)", "since = jnp.where(holds, since, t + 1)", "test_sweeps.py -k numpy_loop"),
    "labels left out of the kernel": ("dynamics/perfect.py", "signed = jnp.where(task.labels[:, None] == 0, task.inputs, -task.inputs)", "signed = task.inputs", "test_sweeps.py -k numpy_loop"),
    "one lane's hit stops its tile": ("dynamics/perfect.py", "return (t < steps) & jnp.any(first == _NEVER)", "return (t < steps) & jnp.all(first == _NEVER)", "test_sweeps.py -k numpy_loop"),
    "dropped last tile": ("sweeps/tiles.py", "count = -(-n // (tile * devices))\n", "count = max(1, n // (tile * devices))\n        lanes = lanes[: count * tile * devices]\n        n = len(lanes)\n", "test_sweeps.py -k 'cutting or every_point'"),
    "box without its start": ("sweeps/tiles.py", "at = [start[k] + local // within[k] % box[k]", "at = [0 * start[k] + local // within[k] % box[k]", "test_sweeps.py -k cutting"),
    "key by place in the box": ("sweeps/tiles.py", "configuration = sum((i * s for i, s in zip(at, strides)), jnp.zeros_like(lanes))", "configuration = local", "test_sweeps.py -k statistics"),
    "one seed for all": ("sweeps/tiles.py", "jax.vmap(fold)(seeds[replica], configuration)", "jax.vmap(fold)(seeds[0 * replica], configuration)", "test_sweeps.py -k noise"),
    "sorted lanes left sorted": ("sweeps/run.py", "values = {name: value[back] for name, value in values.items()}", "values = dict(values)", "test_sweeps.py -k cutting"),
    "NaN passes for a result": ("sweeps/tiles.py", "code = jnp.where(nan & (code == int(Outcome.OK))", "code = jnp.where(nan & False & (code == int(Outcome.OK))", "test_sweeps.py -k statuses"),
    "identity blind to captured arrays": ("sweeps/tiles.py", "        mixed.update(f\"{constant.dtype}{constant.shape}\".encode() + constant.tobytes())", "        mixed.update(f\"{constant.dtype}{constant.shape}\".encode())", "test_sweeps.py -k captured"),
    "identity blind to the axes": ("sweeps/plan.py", "identity = (traced.digest, grid.digest(), tile", "identity = (traced.digest, tile", "test_store.py -k other_sweeps"),
    "bad seeds averaged": ("sweeps/reduce.py", "count = np.where(ok.all(axis=1), count, 0)", "count = count", "test_sweeps.py -k went_wrong"),
    "quantile one rank high": ("sweeps/reduce.py", "np.maximum(np.ceil(level * n).astype(int), 1) - 1", "np.minimum(np.floor(level * n).astype(int), n.max() - 1)", "test_sweeps.py -k statistics"),
    "checksum not compared": ("sweeps/store.py", 'return None if digest == expected[1] else "corrupt (checksum)"', "return None", "test_store.py -k 'damage and flip'"),
    "an interruption counts as a death": ("sweeps/run.py", "        store.give_up(task)  # it could say why: no death\n", "", "test_store.py -k interrupted"),
    "the guard lets all pass": ("sweeps/plan.py", "if free is None or need <= free:", "if free is None or True:", "test_sweeps.py -k too_large"),
    "never quarantined": ("sweeps/run.py", "MOST_DEATHS = 3", "MOST_DEATHS = 30", "test_sweeps.py -k dead_worker"),
    "never drawn as a number": ("plot.py", "(table.dtype.kind in \"iu\") & (values < 0)", "(table.dtype.kind in \"x\") & (values < 0)", "test_sweeps.py -k any_two_axes"),
    "row: (19) with the printed factor": ("theory/two_particles.py", "return c / 2 * jnp.stack([(1 + alpha)", "return c * jnp.stack([(1 + alpha)", "test_statements.py -k test_row[gd.15]"),
    "row: Theorem 4 as printed": ("theory/two_particles.py", "growth(c0 * (1 - p1) * t)]", "growth(2 * c0 * (1 - p1) * t)]", "test_statements.py -k test_row[gd.16]"),
    "row: appendix C as printed": ("theory/two_particles.py", "step = jnp.asarray(rate) * c / 2 * (1 + alpha)", "step = jnp.asarray(rate) * c / 2 * (1 - alpha)", "test_statements.py -k test_row[gd.20]"),
    "row: loss bound as printed": ("theory/orthogonal.py", "LOSS_CONSTANT = 1.07943", "LOSS_CONSTANT = 1.00000", "test_statements.py -k test_row[gd.9]"),
    "row: constant of Theorem 3": ("theory/orthogonal.py", "scale = m / (nu * (1 - rho)", "scale = m * (1 - 1 / len(outputs)) / (nu * (1 - rho)", "test_statements.py -k test_row[gd.13]"),
    "row: lambda a millionth off": ("theory/special.py", "return jnp.where(y == jnp.inf, jnp.inf, m)", "return jnp.where(y == jnp.inf, jnp.inf, m * 1.000001)", "test_statements.py -k test_row[gd.7]"),
    "row: a flow a millionth too fast": ("dynamics/flow.py", "speed = -(1 + flow.time(s)) if flow.log_time else -1.0", "speed = -1.000001 * (1 + flow.time(s)) if flow.log_time else -1.0", "test_statements.py -k test_row[gd.4]"),
    "row: the schedule one step late": ("dynamics/descent.py", "rates[jnp.minimum(step, rates.shape[0] - 1)]", "rates[jnp.minimum(step + 1, rates.shape[0] - 1)]", "test_statements.py -k test_row[gd.8]"),
    "row: Hessian without its mean": ("observe/curvature.py", "centred = task.outputs - (p @ task.outputs)[:, None, :]  # (N, M, k): u_z − ū_x", "centred = task.outputs - 0 * (p @ task.outputs)[:, None, :]", "test_statements.py -k test_row[gd.24]"),
    "row: batch summed": ("tasks/association.py", "return jnp.mean(cross_entropy(model.scores(self, tokens), labels))", "return jnp.sum(cross_entropy(model.scores(self, tokens), labels))", "test_statements.py -k test_row[gd.2]"),
    "row: particles with another sign": ("models/particles.py", "moved = product(product(self.alpha, gradient.values)", "moved = -product(product(self.alpha, gradient.values)", "test_statements.py -k test_row[gd.1]"),
    "row: lemma 5 without its second half": ("theory/induction.py", "contrast = readout - readout.mean(axis=1, keepdims=True)", "contrast = readout", "test_statements.py -k test_row[birth.29b]"),
    "row: kappa as printed": ("theory/induction.py", "return tokens / (tokens - 1) * inner", "return 1.0", "test_statements.py -k test_row[birth.30]"),
    "row: layer norm not projected": ("models/memory.py", "return task.logits(hidden / jnp.linalg.norm(hidden, axis=1, keepdims=True))", "return hidden / jax.lax.stop_gradient(jnp.linalg.norm(hidden, axis=1, keepdims=True)) @ task.outputs.T", "test_statements.py -k test_row[birth.35]"),
    "row: noise without 1/d": ("theory/outer_product.py", "other = (1 + k) / d + same", "other = same", "test_statements.py -k test_row[slides.37]"),
    "row: one step fewer than the least": ("theory/two_particles.py", "2 + jnp.floor(lag / (2 * (1 - p1)))", "3 + jnp.floor(lag / (2 * (1 - p1)))", "test_statements.py -k test_row[beyond.1]"),
    "row: a hit one step early": ("dynamics/perfect.py", "first = jnp.minimum(first, jnp.where(holds, t + 1, _NEVER))", "first = jnp.minimum(first, jnp.where(holds, t, _NEVER))", "test_statements.py -k test_row[beyond.2]"),
    "row: width of the cycle": ("theory/soft_labels.py", "(2 * (1 - 3 * jnp.asarray(q) * (1 - q)))", "(2 * (1 - 4 * jnp.asarray(q) * (1 - q) + 1e-9))", "test_statements.py -k test_row[beyond.4]"),
    "routes not compared": ("statements/check.py", "self.second.holds and self.apart <= BOTH)", "self.second.holds)", "test_statements.py -k red"),
    "NaN passes for a claim that holds": ("statements/claims.py", "np.where(np.isnan(gap), np.inf, gap)", "np.where(np.isnan(gap), -np.inf, gap)", "test_statements.py -k mean"),
    "padding counted": ("statements/check.py", "np.asarray(leaf)[:size], _vmapped", "np.asarray(leaf)[:], _vmapped", "test_statements.py -k whatever"),
    "neutral directions in the tangent": ("studies/beyond.py", "moved = left @ moved @ right", "moved = moved", "test_cli.py -k exponents"),
    "cooc: step without its second-order term": ("models/cooccurrence.py", "score + forward + backward + left.T @ a,", "score + forward + backward,", "test_cooccurrence.py -k descent_closes"),
    "cooc: m1 forgotten": ("models/cooccurrence.py", "values = self.energy * s + self.neurons * carried", "values = self.energy * s + carried", "test_cooccurrence.py -k flow_closes"),
    "cooc: query and key exchanged": ("models/cooccurrence.py", "scores = table[tokens[:, None, :], tokens[:, :, None]]", "scores = table[tokens[:, :, None], tokens[:, None, :]]", "test_cooccurrence.py -k numpy_loop"),
    "cooc: no 1/sqrt(m)": ("models/cooccurrence.py", "tokens[:, :, None]] / np.sqrt(width)", "tokens[:, :, None]]", "test_cooccurrence.py -k numpy_loop"),
    "cooc: signs trained": ("models/cooccurrence.py", "return self.mlp, self.value, self.key, self.query\n", "return self.mlp, self.value, self.key, self.query, self.signs\n", "test_cooccurrence.py -k invariants"),
    "cooc: words repeat where they may not": ("tasks/cooccurrence.py", "if distinct:\n            # As many", "if distinct and False:\n            # As many", "test_cooccurrence.py -k training_sets"),
    "cooc: label of the third kind": ("tasks/cooccurrence.py", "jnp.where(kinds == 0, 1.0, -1.0)", "jnp.where(kinds % 2 == 0, 1.0, -1.0)", "test_cooccurrence.py -k training_sets"),
    "cooc: signals keep their places": ("tasks/cooccurrence.py", "return jr.permutation(key, rows, axis=1, independent=True)", "return rows", "test_cooccurrence.py -k population"),
    "cooc: a tangent from elsewhere": ("dynamics/flow.py", "gradient = combine(params).tangent(task, ", "gradient = combine(jax.tree.map(lambda p: 0 * p, params)).tangent(task, ", "test_cooccurrence.py -k flow_closes"),
    "cooc: momentum let through": ("dynamics/descent.py", "params = _refuse_memory(optimizer, params)", "params = params", "test_cooccurrence.py -k refused"),
    "cooc: row 41, values transposed": ("theory/cooccurrence.py", 'jnp.einsum("nlh,mc,nlc,nhd->md", weight, Q, X, X)', 'jnp.einsum("nlh,mc,nhc,nld->md", weight, Q, X, X)', "test_statements.py -k test_row[cooc.41]"),
    "cooc: row 43 as printed": ("theory/cooccurrence.py", "(a[0] * second if stray else second)", "a[0] * second", "test_statements.py -k test_row[cooc.43]"),
    "an output drawn where a trigger is": ("tasks/bigram.py", "token = jnp.where(jnp.any(match, axis=1), forced, free)", "token = jnp.where(jnp.any(match[:, :1], axis=1), forced, free)", "test_bigram.py -k follow_the_law"),
    "thresholds shifted": ("tasks/bigram.py", "return jnp.sum(drawn[..., None] >= cuts, axis=-1, dtype=jnp.int32)", "return jnp.sum(drawn[..., None] > cuts // 512 * 512, axis=-1, dtype=jnp.int32) if cuts.ndim > 9 else jnp.sum(drawn[..., None] >= cuts + cuts // 256, axis=-1, dtype=jnp.int32)", "test_bigram.py -k 'follow_the_law or real_table'"),
    "triggers drawn uniformly": ("tasks/bigram.py", "race = jnp.log(unigram) + jr.gumbel", "race = jnp.where(unigram > 0, 0.0, -jnp.inf) + jr.gumbel", "test_bigram.py -k follow_the_law"),
    "a loss position dropped": ("tasks/bigram.py", "at = jnp.sum(before[:, None, :] <= jnp.arange(size)[:, None], axis=2, dtype=jnp.int32)", "at = jnp.sum(before[:, None, :] <= jnp.arange(1, size + 1)[:, None], axis=2, dtype=jnp.int32)", "test_bigram.py -k against_a_loop"),
    "a packed size too small": ("tasks/bigram.py", "branch = jnp.searchsorted(jnp.array(sizes, jnp.int32), fullest)", "branch = jnp.maximum(jnp.searchsorted(jnp.array(sizes, jnp.int32), fullest) - 1, 0)", "test_bigram.py -k 'against_a_loop or lanes'"),
    "the packed size of one lane only": ("tasks/bigram.py", "return _shared_max(jnp.max(count)), False", "return _shared_max(jnp.min(count)), False", "test_bigram.py -k lanes"),
    "mean of means over chunks": ("tasks/bigram.py", "return accumulated(self, model, chunks, self.devices) / jnp.maximum(jnp.sum(weights), 1)", "return accumulated(self, model, chunks, self.devices) / jnp.maximum(n, 1)", "test_bigram.py -k against_a_loop"),
    "gradient of the last chunk only": ("tasks/base.py", "jax.tree.map(jnp.add, total, one(task, model, rest, chunk))", "jax.tree.map(lambda t, o: t + o if o.ndim == 0 else o, total, one(task, model, rest, chunk))", "test_bigram.py -k against_a_loop"),
    "devices not added up": ("tasks/base.py", "return jax.lax.psum(local(task, model, rest, chunks), \"data\")", "return jax.lax.pmean(local(task, model, rest, chunks), \"data\")", "test_bigram.py -k two_devices"),
    "a key after the query": ("models/induction.py", "seen = jnp.arange(stop) <= jnp.arange(start, stop)[:, None]", "seen = jnp.arange(stop) <= jnp.arange(start, stop)[:, None] + 1", "test_induction.py -k 'forward or blocks'"),
    "packed queries that see ahead": ("models/induction.py", "seen = jnp.arange(state.shape[1]) <= at[..., None]", "seen = jnp.arange(state.shape[1]) <= at[..., None] + 1", "test_induction.py -k forward"),
    "positions left out of layer-1 queries": ("models/induction.py", "(self.positions @ key)[places]", "0 * (self.positions @ key)[places]", "test_induction.py -k forward"),
    "W_F without the stream": ("models/induction.py", "self.unembedding + self.unembedding @ self.feedforward", "self.unembedding @ self.feedforward", "test_induction.py -k forward"),
    "keys remapped twice in the probe": ("observe/induction.py", "remapped = E @ model.phi1.T if model.key1 is not None else E", "remapped = E @ model.phi1.T @ model.phi1.T if model.key1 is not None else E", "test_induction.py -k probes"),
    "all tokens counted as triggers": ("observe/induction.py", "counted = jnp.zeros(task.num_tokens, bool).at[task.fixed_triggers].set(True)", "counted = task.unigram >= 0", "test_induction.py -k probes"),
    "first occurrences in the in-context loss": ("tasks/bigram.py", "return self.occurrence >= 2", "return self.occurrence >= 1", "test_bigram.py -k against_a_loop"),
    "frozen leaves decay": ("dynamics/descent.py", "seen = released(params, step)", "seen = params", "test_induction.py -k thawing"),
    "thawed a step late": ("dynamics/descent.py", "jnp.where(step >= until, leaf, 0)", "jnp.where(step > until, leaf, 0)", "test_induction.py -k thawing"),
    "a resumed run that counts from zero": ("dynamics/simulate.py", "lane = start(first, inner, dtype) if isinstance(state, bool) else state\n", "lane = start(first, inner, dtype) if isinstance(state, bool) else state._replace(step=0 * state.step)\n", "test_checkpoint.py -k resumed"),
    "a checkpoint without its checksum": ("dynamics/checkpoint.py", "if hashlib.sha256(content).hexdigest() != header[\"sha256\"]:", "if False:", "test_checkpoint.py -k faulty"),
    "paths of leaves not compared": ("dynamics/checkpoint.py", "        if have != want:", "        if have[1:] != want[1:]:", "test_checkpoint.py -k faulty"),
    "few classes, transposed": ("models/memory.py", "product(task.outputs, self.weight).T", "product(task.outputs, self.weight.T).T", "test_capacity.py -k written_memory"),
    "Hebb without 1/d": ("models/energy.py", "weight = patterns.T @ patterns / patterns.shape[1]", "weight = patterns.T @ patterns", "test_energy.py -k loops"),
    "the diagonal of Hebb left in": ("models/energy.py", "return cls(weight - jnp.diag(jnp.diagonal(weight)), steps, asynchronous)", "return eqx.tree_at(lambda m: m.weight, cls(0 * weight, steps, asynchronous), weight)", "test_energy.py -k 'loops or bit_error'"),
    "energy of the wrong sign": ("models/energy.py", "return -jnp.dot(state, self.weight @ state) / 2", "return jnp.dot(state, self.weight @ state) / 2", "test_energy.py -k 'loops or never'"),
    "flips that see the old state": ("models/energy.py", "return states.at[:, i].set(_kept_sign(states @ self.weight[:, i], bit))", "return states.at[:, i].set(_kept_sign(jnp.where(jnp.arange(states.shape[1]) == i - 1, -states, states) @ self.weight[:, i], bit))", "test_energy.py -k never"),
    "only the bits that agree": ("models/energy.py", "lean = jnp.sum(fall - rise, axis=1, keepdims=True)", "lean = 0 * jnp.sum(fall - rise, axis=1, keepdims=True)", "test_energy.py -k compare_two"),
    "attention without its temperature": ("models/energy.py", "return jnp.dot(state, state) / 2 - total / self.beta", "return jnp.dot(state, state) / 2 - total", "test_energy.py -k attention_is"),
    "patterns that are not stored, stored": ("models/energy.py", "total = jax.nn.logsumexp(self.beta * (self.patterns @ state), b=self.weights)", "total = jax.nn.logsumexp(self.beta * (self.patterns @ state))", "test_energy.py -k 'attention_is or alone'"),
    "recalled by the sign of one bit": ("tasks/retrieval.py", "return self.radius - jnp.linalg.norm(model.scores(self) - self.patterns, axis=1)", "return self.radius - jnp.abs(model.scores(self) - self.patterns)[:, 0]", "test_energy.py -k reads_off"),
    "one token too many": ("tasks/association.py", "kept = jnp.arange(self.num_tokens) < n", "kept = jnp.arange(self.num_tokens) <= n", "test_capacity.py -k first_tokens"),
    "answers of absent tokens compete": ("tasks/association.py", "return scores if self.possible is None else jnp.where(self.possible, scores, -jnp.inf)", "return scores", "test_capacity.py -k first_tokens"),
    "a scheme squared": ("models/memory.py", "weighted = scheme[:, None] * features", "weighted = scheme[:, None] ** 2 * features", "test_capacity.py -k 'written_memory or moments'"),
    "missing 1/d of a wrong answer": ("theory/outer_product.py", "wrong = square * (1 + ke) / d + own_class", "wrong = own_class", "test_capacity.py -k moments"),
    "threshold by rank, one too many": ("tasks/schemes.py", "(place < jnp.floor(jnp.asarray(k)))", "(place <= jnp.floor(jnp.asarray(k)))", "test_capacity.py -k test_schemes"),
    "Hermite without its norm": ("models/two_layer.py", "return here / math.sqrt(math.factorial(self.degree))", "return here", "test_capacity.py -k hermite"),
    "factors off by two": ("models/two_layer.py", "scale = math.sqrt(d / (2 * rank))", "scale = math.sqrt(d / rank)", "test_capacity.py -k factorised"),
    "bias left out": ("models/two_layer.py", "hidden = self.activation(product(rows(task, tokens), self.input.T) + self.bias)", "hidden = self.activation(product(rows(task, tokens), self.input.T))", "test_capacity.py -k mlp_by_hand"),
    "a scheme read without its mean": ("observe/schemes.py", "pulls = task.outputs[task.labels] - task.outputs.mean(axis=0)", "pulls = task.outputs[task.labels]", "test_capacity.py -k scheme_of"),
    "an interval for one seed": ("sweeps/capacity.py", "values.var(ddof=1) / seeds,", "values.var(ddof=1) * 0,", "test_capacity.py -k intervals_cover"),
    "the floor for few tokens left out": ("sweeps/capacity.py", "target * (1 - target) / (seeds * n))", "0.0)", "test_capacity.py -k without_an_error"),
    "interpolation the wrong way": ("sweeps/capacity.py", "share = (below - target) / (below - above)", "share = (target - above) / (below - above) + 3", "test_capacity.py -k known_crossing"),
    "a slope without its weights": ("sweeps/fits.py", "columns = np.vander(u[part] - centre, degree + 1, increasing=True) / sigma[part, None]", "columns = np.vander(u[part] - centre, degree + 1, increasing=True) / sigma[part, None] ** 0 / sigma[part].mean()", "test_capacity.py -k slopes"),
    "a tie counted as a wrong bit": ("theory/hopfield.py", "most = jnp.ceil((trials - (d - 1)) / 2) - 1", "most = jnp.floor((trials - (d - 1)) / 2)", "test_energy.py -k bit_error"),
    "Hutter one sample short": ("theory/scaling.py", "jnp.exp(n * jnp.log1p(", "jnp.exp((n - 1) * jnp.log1p(", "test_capacity.py -k hutter"),
    "scores of a head not scaled": ("models/transformer.py", "/ np.sqrt(q.shape[-1])", "/ np.sqrt(self.query.shape[-1])", "test_induction.py -k plain_transformer"),
}  # fmt: skip


def caught(name: str) -> tuple[str, bool, str]:
    file, right, fault, tests = FAULTS[name]
    with tempfile.TemporaryDirectory() as place:
        shutil.copytree(ROOT / "assocmem_jax", Path(place) / "assocmem_jax")
        target = Path(place) / "assocmem_jax" / file
        text = target.read_text(encoding="utf-8")
        if text.count(right) < 1:
            return name, False, "the code it replaces is gone: update the fault"
        text = text.replace(right, fault)
        if "jax.lax.stop_gradient" in fault and "import jax\n" not in text:
            text = text.replace("import jax.numpy as jnp", "import jax\nimport jax.numpy as jnp", 1)
        target.write_text(text, encoding="utf-8")
        file, *options = tests.split(" -k ")
        command = [
            Path(sys.executable).parent / "pytest",
            ROOT / "tests" / file,
            "-x",
            "--no-header",
            "-p",
            "no:cacheprovider",
            "-m",
            "not examples",
        ]
        command += ["-k", options[0].strip("'")] if options else []
        run = subprocess.run(
            command,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PYTHONPATH": place},
        )
        last = run.stdout.strip().splitlines()[-1:] or [""]
        # 1: tests ran and failed. Anything else (0 passed, 2-5 did not run) is not a catch.
        return name, run.returncode == 1, last[0]


def main() -> int:
    names = sys.argv[1:] or list(FAULTS)
    missed = 0
    with ThreadPoolExecutor(2) as pool:
        for name, seen, why in pool.map(caught, names):
            print(f"{'caught' if seen else 'MISSED'}  {name}" + ("" if seen else f"  ({why})"), flush=True)
            missed += not seen
    print(f"{len(names) - missed} of {len(names)} planted faults caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
