"""What is known of BIDS: queries, sites, names, sidecars and the writer of derivatives."""
