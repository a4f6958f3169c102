"""bfloat16 on a processor without instructions for it."""

import pytest

from g2rpo import processor


@pytest.mark.parametrize(
    ("in_hardware", "bf16", "device", "warned"),
    [(False, True, "cpu", True), (True, True, "cpu", False), (False, False, "cpu", False), (False, True, "cuda", False)],
)
def test_bf16_in_software_is_said(monkeypatch, in_hardware, bf16, device, warned):
    monkeypatch.setattr(processor, "computes_bf16", lambda: in_hardware)
    assert bool(processor.slow_bf16(bf16, device)) == warned


def test_the_pretrained_demo_computes_in_what_the_processor_can(monkeypatch, tmp_path):
    from g2rpo.lab import demo

    plans = []
    monkeypatch.setattr(demo, "computes_bf16", lambda: False)
    monkeypatch.setattr(demo, "resolve_model", lambda name: name)
    monkeypatch.setattr(demo, "compare", lambda plan, output, jobs: plans.append(plan))
    monkeypatch.setattr(demo, "in_short", lambda summary: {})
    demo.run_demo(tmp_path, pretrained=True)
    assert plans[0].shared["bf16"] is False
