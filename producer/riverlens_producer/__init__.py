"""The producer: videos, image folders and synthetic cameras -> Kafka."""
