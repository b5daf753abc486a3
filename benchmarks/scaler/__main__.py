"""`python -m benchmarks.scaler`."""

if __name__ == "__main__":
    from benchmarks.scaler.command import main

    main()
