"""What is hashed: a folder as a Merkle tree that binds names and lengths, its cache, and proofs of parts."""
