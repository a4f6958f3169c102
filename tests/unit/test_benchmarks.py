"""The benchmark of a training step: rollouts come out as scripted, figures are computed right, and it runs."""

import json
from collections import Counter

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import step
from benchmarks.limits import Shape
from benchmarks.scripted import EOS, SIZES, SPREAD, Layout, lengths, model, rows, scripted_reward, tokenizer

LAYOUT = Layout(512, 32)


def sampled_lengths(prompts, spread=SPREAD, **settings):
    tokens = tokenizer(512)(prompts, return_tensors="pt")
    torch.manual_seed(1)
    built = model("1m", LAYOUT, spread)
    out = built.generate(**tokens, max_new_tokens=32, pad_token_id=0, do_sample=True, **settings)[:, tokens.input_ids.shape[1] :]
    return [(row == EOS).nonzero()[0].item() + 1 for row in out]


def test_rollouts_have_the_lengths_that_their_prompts_name():
    prompts = [f"t{LAYOUT.filler + 3} t{LAYOUT.name(length)}" for length in (4, 10, 20) for _ in range(6)]
    assert sampled_lengths(prompts, spread=(1.0,) * 4) == [4] * 6 + [10] * 6 + [20] * 6
    found = sampled_lengths(prompts)
    for at, length in enumerate((4, 10, 20)):
        assert set(found[6 * at : 6 * at + 6]) <= {round(share * length) for share in SPREAD}
    assert len(set(found)) > 4


def test_only_generation_is_steered():
    built = model("1m", LAYOUT)
    ids = torch.tensor([[LAYOUT.filler, LAYOUT.name(9)]])
    free = built(input_ids=ids).logits[0, -1]
    with torch.no_grad():
        steered = built(input_ids=ids).logits[0, -1]
    assert set((steered - free.detach()).abs().gt(1).nonzero().flatten().tolist()) == set(
        LAYOUT.following(SPREAD)[LAYOUT.name(9)].tolist()
    )


@pytest.mark.parametrize(("vocabulary", "longest"), [(2048, 128), (32_768, 256)])
def test_no_token_means_two_things(vocabulary, longest):
    layout = Layout(vocabulary, longest)
    used = [0, EOS, *(layout.name(n) for n in range(1, longest + 1))]
    used += [layout.countdown(r) + v for r in range(1, longest) for v in range(4)]
    assert len(set(used)) == len(used)
    assert max(used) < layout.filler < vocabulary


@pytest.mark.parametrize("profile", ["even", "moderate", "uneven"])
def test_length_profiles(profile):
    named = lengths(profile, 8, 128)
    assert len(named) == 8
    assert max(named) * (1 if profile == "even" else SPREAD[-1]) <= 129
    assert (len(set(named)) == 1) == (profile == "even")


def test_every_step_has_the_same_lengths_and_the_same_share_of_dead_groups():
    data = rows(LAYOUT, [4, 8, 12, 16, 20], prompt=6, dead=0.6, steps=3)
    assert {len(row["prompt"].split()) for row in data} == {6}
    for at in range(0, 15, 5):
        block = data.select(range(at, at + 5))
        assert Counter(row["prompt"].split()[-1] for row in block) == Counter(f"t{LAYOUT.name(n)}" for n in (4, 8, 12, 16, 20))
        assert sum(block["alive"]) == 2
    assert scripted_reward([[1]] * 4, [True, True, False, False]) == [0.0, 1.0, 0.0, 0.0]


def test_ratio_of_medians():
    found = step.ratio([4.0, 4.2, 4.4], [2.0, 2.1, 2.2])
    assert found.value == pytest.approx(2.0)
    assert found.low == pytest.approx(2.0)
    assert found.high == pytest.approx(2.0)
    assert step.ratio([1.0], [0.0]) is None
    wide = step.ratio([1.0, 9.0, 2.0, 8.0], [1.0, 1.0, 1.0, 1.0])
    assert wide.low < wide.value < wide.high


def test_fit():
    line = step.fit([1, 2, 3, 4], [5, 7, 9, 11])
    assert (line.base, line.slope, line.r2) == pytest.approx((3, 2, 1))
    assert step.fit([1, 2, 3, 4], [5, 7, 5, 7]).r2 < 0.5


def test_operations_are_counted_as_torch_counts_them():
    """A prompt of one token: the whole row but its last position is scored. Torch counts the square of attention, ours its
    half."""
    shape = Shape(*SIZES["1m"], 512)
    built = model("1m", LAYOUT)
    in_layers = sum(p.numel() for n, p in built.named_parameters() if p.dim() == 2 and "layers" in n)
    assert shape.weights == in_layers
    ids = torch.randint(3, 512, (1, 64))
    with FlopCounterMode(display=False) as counted:
        built(input_ids=ids).logits[:, :-1].sum().backward()
    assert shape.update_flops(1, 63) == pytest.approx(counted.get_total_flops(), rel=0.06)


def test_the_benchmark_runs(tmp_path, capsys):
    """One small case, both sides in processes of their own."""
    file = tmp_path / "step.json"
    step.main(["sparse", "--quick", "--groups", "2", "--dead", "0.5", "--completion", "16", "--json", str(file)])
    told = json.loads(file.read_text())["cases"][0]
    stock, ours = told["sides"]["stock"]["steps"], told["sides"]["ours"]["steps"]
    assert len(stock) == len(ours) == 2
    for side in (stock, ours):
        for one in side:
            assert one["seconds"]["decode"] > 0
            assert one["seconds"]["update"] > 0
            assert 16 * 2 <= one["tokens"] <= 16 * 16
    assert told["summary"]["ratio"]["step"]["value"] > 0
    assert "sparse" in capsys.readouterr().out
