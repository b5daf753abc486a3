"""`python -m benchmarks.bulk`. Processes that are spawned import this file again: it stays light."""

if __name__ == "__main__":
    from benchmarks.bulk.command import main

    main()
