"""`python -m benchmarks.captions`."""

if __name__ == "__main__":
    from benchmarks.captions.command import main

    main()
