"""`python -m benchmarks.faults`. Processes that are spawned import this file again: it stays light."""

if __name__ == "__main__":
    from benchmarks.faults.command import main

    main()
