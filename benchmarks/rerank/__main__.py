"""`python -m benchmarks.rerank`."""

if __name__ == "__main__":
    from benchmarks.rerank.command import main

    main()
