"""``python -m gan_inpaint.select``: compare the saved epochs of a training run; export one."""

from gan_inpaint.cli.select import main

if __name__ == "__main__":
    main()
