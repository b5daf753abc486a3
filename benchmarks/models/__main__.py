"""`python -m benchmarks.models`. Processes that are spawned import this file again: it stays light."""

if __name__ == "__main__":
    from benchmarks.models.command import main

    main()
