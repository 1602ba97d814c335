"""Entry point of ``python -m gan_inpaint.app``; the work is in ``cli.serve`` and ``web``."""

from gan_inpaint.cli.serve import main

if __name__ == "__main__":
    main()
