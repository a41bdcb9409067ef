"""`python -m tokenmint` is the `tokenmint` command."""

from tokenmint.cli import main

if __name__ == "__main__":
    main()
