"""`python -m benchmarks.observe`. Processes that are spawned import this file again: it stays light."""

if __name__ == "__main__":
    from benchmarks.observe.command import main

    main()
