"""The methods: each turns a config and a corpus into stages, and its trained model into embeddings."""
