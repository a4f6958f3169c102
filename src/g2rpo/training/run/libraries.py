"""What the libraries below would say in a traceback, said in a sentence: packages that are missing before anything is loaded, and
settings that a library refuses while a run is made ready."""

import linecache
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch
from transformers import Trainer, get_scheduler
from transformers.integrations import INTEGRATION_TO_CALLBACK, get_available_reporting_integrations

from g2rpo.errors import ConfigError, G2RPOError, nearest

PACKAGES = {
    "use_vllm": ("vllm", 'pip install -e ".[vllm]" in a clone'),
    "use_peft": ("peft", "pip install peft"),
    "load_in_4bit": ("bitsandbytes", "pip install bitsandbytes"),
    "load_in_8bit": ("bitsandbytes", "pip install bitsandbytes"),
    "use_liger_kernel": ("liger_kernel", "pip install liger-kernel"),
    "deepspeed": ("deepspeed", "pip install deepspeed"),
}
"""Fields that ask for a package where they are set: the module, and how to get it."""


def check_packages(given: dict[str, Any]) -> None:
    """Refuses fields whose package is not installed.

    Args:
        given: Values by field.

    Raises:
        ConfigError: the field, and how to install what it needs.
    """
    for name, (module, how) in PACKAGES.items():
        if given.get(name) and find_spec(module) is None:
            raise ConfigError(
                name,
                given[name],
                expected=f"the package {module} to be installed",
                then=f"Install it ({how}), or leave {name} out.",
            )


def check_libraries(model: Any, args: Any) -> None:
    """Packages, trackers and optimizer of a run, before its model is loaded.

    Args:
        model: TRL's `ModelConfig`.
        args: Training arguments.

    Raises:
        ConfigError: a package that is missing, a tracker that nobody knows, or an optimizer that Transformers refuses.
    """
    check_packages({name: getattr(model, name, None) or getattr(args, name, None) for name in PACKAGES})
    for tracker in args.report_to or []:
        if tracker not in INTEGRATION_TO_CALLBACK:
            raise ConfigError(
                "report_to",
                tracker,
                expected="trackers that Transformers knows, or none",
                then=nearest(str(tracker), list(INTEGRATION_TO_CALLBACK)),
            )
        if tracker not in (*get_available_reporting_integrations(), "flyte"):
            raise ConfigError(
                "report_to",
                tracker,
                expected="an installed tracker",
                then=f"Install it (pip install {tracker}), or set report_to to none.",
            )
    _check_optimizer(args)


def _check_optimizer(args: Any) -> None:
    """Makes the optimizer and its schedule for one number, where that needs no model."""
    fields, number = ("optim", "optim_args"), torch.nn.Parameter(torch.zeros(1))
    try:
        made, settings = Trainer.get_optimizer_cls_and_kwargs(args)
        if made.__module__.startswith("torch."):
            made([number], **settings)
        fields = ("lr_scheduler_type", "lr_scheduler_kwargs")
        get_scheduler(args.lr_scheduler_type, torch.optim.SGD([number]), 0, 10, args.lr_scheduler_kwargs)
    except Exception as error:  # nothing but these settings can be the cause
        if "model" in str(error):  # some want to see the model first: they are asked when there is one
            return
        values = {name: str(getattr(value, "value", value)) for name in fields if (value := getattr(args, name))}
        name = fields[1] if fields[1] in values and not isinstance(error, ImportError) else fields[0]
        raise ConfigError(name, values[name], expected="what Transformers can make of it", then=f"It says: {error}") from error


@contextmanager
def library_words(what: str, value: Any = None) -> Iterator[None]:
    """Turns a refusal that a library wrote for people into a sentence; errors that nobody meant keep their traceback.

    Raises:
        ConfigError: what is refused, and the library's own words.
    """
    try:
        yield
    except (G2RPOError, OSError):
        raise
    except Exception as error:
        library = _refusing_library(error)
        if library is None:
            raise
        said = " ".join(str(error.args[0] if isinstance(error, KeyError) and error.args else error).split())
        shown = () if value is None else (value,)
        raise ConfigError(what, *shown, expected=f"what {library} accepts", then=f"It says: {said[:400]}") from error


def _refusing_library(error: BaseException) -> str | None:
    """The installed library that raised an error on purpose: the innermost line of its traceback is a `raise`."""
    frame, line = list(traceback.walk_tb(error.__traceback__))[-1]
    folder, _, inside = frame.f_code.co_filename.replace("\\", "/").rpartition("-packages/")
    raised = linecache.getline(frame.f_code.co_filename, line).lstrip().startswith("raise")
    return inside.partition("/")[0] if folder and raised else None
