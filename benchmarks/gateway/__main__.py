"""`python -m benchmarks.gateway`."""

from benchmarks.gateway.command import main

if __name__ == "__main__":
    main()
