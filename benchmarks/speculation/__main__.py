"""`python -m benchmarks.speculation`."""

if __name__ == "__main__":
    from benchmarks.speculation.command import main

    main()
