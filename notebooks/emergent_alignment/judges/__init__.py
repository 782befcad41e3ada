"""Language models as judges: score your own items by a model you can reach, instead of the stored tables.

How to use it with a server on your own machine (no key, no cost):

1. Start one: `ollama serve` listens on http://localhost:11434/v1, llama.cpp's `llama-server -m model.gguf` on
   http://localhost:8080/v1.
2. Write items.csv with the columns item and text, one row for each item.
3. `python -m emergent_alignment.judges --items items.csv --domain films --model llama3.2
   --base-url http://localhost:11434/v1 --out scores.csv` prints how many calls and tokens, how much money and
   time it will take, and asks. Interrupt it as you like: the same command goes on without paying again.
4. `utilities(load_scores("scores.csv"))[0]` is the array (judges, items) that `alignment_curves` takes.
5. From Python: `score_items(items, make_judges("films", "llama3.2"), "films",
   Endpoint("http://localhost:11434/v1"), cache="answers.jsonl").scores`.

A hosted endpoint that speaks the same protocol works alike. Put its key into an environment variable, and give
the name of that variable: `--key-variable NAME`, or `Endpoint(url, "NAME")`.

What leaves the machine: the endpoint named, and nobody else, receives the texts of the items, the personas
and the question (`messages` shows them), the model's name and the sampling numbers. With a local server
nothing leaves it, unless that server passes requests on, as Ollama does for models in its cloud. A key is
read when it is needed and goes into the Authorization header alone: never into a file, a message or a log,
never over plain http to another machine, and never to the target of a redirect (none is followed).

Answers are not reproducible as the rest of the course is: a provider may change a model behind its name. The
file of answers is the record; keep it with the scores, and begin a new one when a local server loads other
weights under the same name.
"""

# ruff: noqa: F401  (the public names)

from .endpoint import Endpoint, EndpointError
from .personas import DOMAINS, KINDS, Domain, Judge, make_judges, messages
from .ratings import Rating, parse_rating
from .scores import SAMPLING, Estimate, NotAccepted, Scored, ask, score_items
from .tables import load_items, load_scores, utilities
