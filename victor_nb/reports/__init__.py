"""What a reader looks at: frames, tables and charts. pandas and matplotlib are imported when one is made."""
