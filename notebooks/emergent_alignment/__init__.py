"""The library of *Emergent Alignment via Competition: a hands-on course*."""

from importlib import import_module

__version__ = "0.2.0"

# Names are imported when they are first used, so that `python -m emergent_alignment.check_env` can say what is
# missing where numpy is missing.
_HOME = {
    "Alignment": "hull",
    "Certificate": "certificates",
    "InfeasibleError": "_validation",
    "InputError": "_validation",
    "Market": "markets",
    "Scheme": "persuasion",
    "SelectionPath": "selection",
    "align": "hull",
    "argmax_weights": "certificates",
    "best_response_dynamics": "selection",
    "certify": "certificates",
    "certify_table": "certificates",
    "concave_envelope": "persuasion",
    "judge_and_prosecutor": "markets",
    "optimal_scheme": "persuasion",
    "posteriors": "persuasion",
    "proved_value": "certificates",
    "sample_market": "markets",
    "second_moments": "hull",
    "slate_market": "markets",
    "verify_exact": "certificates",
}
__all__ = list(_HOME)


def __getattr__(name):
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    if name in _HOME.values():  # emergent_alignment.hull after `import emergent_alignment`
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})
