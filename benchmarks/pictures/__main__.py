"""`python -m benchmarks.pictures`. Processes that are spawned import this file again: it stays light."""

if __name__ == "__main__":
    from benchmarks.pictures.command import main

    main()
