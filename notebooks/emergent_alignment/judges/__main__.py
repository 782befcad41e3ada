"""The command line: python -m emergent_alignment.judges."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from .._validation import InputError
from .endpoint import Endpoint, EndpointError
from .personas import DOMAINS, KINDS, make_judges
from .scores import SAMPLING, NotAccepted, ask, score_items
from .tables import load_items


def main(arguments=None) -> int:
    """Returns the exit status: 0 done, 1 not done, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m emergent_alignment.judges",
        description="Have a language model rate items in several roles, and write a table of scores.",
        epilog="Answers are kept beside OUT in *_answers.jsonl, reasons for missing ratings in *_missing.csv.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--items", required=True, metavar="CSV", help="table with the columns item and text")
    add("--domain", required=True, choices=tuple(DOMAINS), help="what the items are")
    add("--model", required=True, action="append", help="model; may be given several times")
    add("--base-url", required=True, metavar="URL", help="endpoint, such as http://localhost:11434/v1")
    add("--key-variable", metavar="NAME", help="environment variable that holds the key (default: no key)")
    add("--kinds", nargs="+", choices=KINDS, default=KINDS, help="kinds of judges (default: all)")
    add("--out", required=True, metavar="CSV", type=Path, help="table of scores to write")
    add("--prices", nargs=2, type=float, metavar=("SENT", "RECEIVED"), help="per million tokens")
    add("--sampling", type=json.loads, default=json.dumps(SAMPLING), metavar="JSON", help="%(default)s")
    add("--concurrency", type=int, default=4, help="calls at the same time (default: 4)")
    add("--timeout", type=float, default=60.0, help="seconds to wait for an answer (default: 60)")
    add("--yes", action="store_true", help="show the estimate and do not ask")
    options, unknown = parser.parse_known_args(arguments)
    if unknown:  # not repeated, because it might be a key
        parser.error("there is an option or a value too many; of a key, give the name of its variable alone")

    out = options.out
    beside = out.with_name(f"{out.stem}_missing.csv")
    try:
        scores, missing = score_items(
            load_items(options.items),
            make_judges(options.domain, options.model, options.kinds),
            options.domain,
            Endpoint(options.base_url, options.key_variable, options.timeout),
            cache=out.with_name(f"{out.stem}_answers.jsonl"),
            confirm=(lambda plan: print(plan, flush=True) is None) if options.yes else ask,
            prices=options.prices,
            sampling=options.sampling,
            concurrency=options.concurrency,
        )
        missing.to_csv(beside, index=False, lineterminator="\n")
        scores.to_csv(out, lineterminator="\n")
    except (EndpointError, InputError, NotAccepted, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted. Answers are kept: the same command goes on from here.", file=sys.stderr)
        return 130
    size = "{} items, {} judges".format(*scores.shape)
    print(f"Wrote {out}: {size}, {len(missing)} ratings missing (reasons in {beside.name}).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
