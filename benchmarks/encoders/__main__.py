"""`python -m benchmarks.encoders`."""

from benchmarks.encoders.command import main

if __name__ == "__main__":
    main()
