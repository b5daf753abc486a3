"""`python -m benchmarks.assistant`. Processes that are spawned import this file again: it stays light."""

if __name__ == "__main__":
    from benchmarks.assistant.command import main

    main()
