"""What a run leaves behind: its folder, pools, predictions, guarantees."""
