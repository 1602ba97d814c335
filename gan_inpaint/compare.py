"""``python -m gan_inpaint.compare``: compare the jobs of a sweep."""

from gan_inpaint.cli.compare import main

if __name__ == "__main__":
    main()
