"""One seed of one check, for ``run_seed``: its result is the last line of standard output."""

import json
import sys

from softwood.papers._run import check_here

if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(check_here(sys.argv[1], sys.argv[2], int(sys.argv[3]))) + "\n")
