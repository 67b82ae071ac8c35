"""The torch engine. The only room that imports torch, transformers and peft."""
