"""Texts as rows of hashed tokens."""

from headrace.compute.text.vectorizer import HashingVectorizer as HashingVectorizer
