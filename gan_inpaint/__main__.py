"""``gan-inpaint COMMAND ...``, the same as ``python -m gan_inpaint.COMMAND ...``."""

import runpy
import sys

COMMANDS = ("train", "train_guide", "reconstruct", "select", "compare", "app")


def main() -> None:
    """Run the command that the first argument names."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in COMMANDS:
        del sys.argv[1]
        # as with python -m: Lightning repeats that command line for its other processes
        runpy.run_module(f"gan_inpaint.{name}", run_name="__main__", alter_sys=True)
    elif name in ("-h", "--help"):
        print(f"gan-inpaint {'|'.join(COMMANDS)} [KEY=VALUE ...]")
        print("gan-inpaint COMMAND --help lists the keys of a command.")
    else:
        print(f"error: {name}: no command; it is one of {', '.join(COMMANDS)}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
