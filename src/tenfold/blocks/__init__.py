"""What a service asks for: one folder a block. Every block may import `blocks.database`; nothing else crosses."""
