"""`python -m benchmarks.index`."""

from benchmarks.index.command import main

if __name__ == "__main__":
    main()
