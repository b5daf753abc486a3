"""`python -m benchmarks.kv`."""

if __name__ == "__main__":
    from benchmarks.kv.command import main

    main()
