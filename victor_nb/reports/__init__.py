"""What a reader looks at: frames and charts. pandas and matplotlib live only here."""
