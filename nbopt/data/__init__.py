"""Where samples come from, and the cursor that deals them out in batches."""
