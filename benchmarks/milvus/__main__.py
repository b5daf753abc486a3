"""`python -m benchmarks.milvus`."""

from benchmarks.milvus.command import main

if __name__ == "__main__":
    main()
