"""What the ids on findings mean: public frameworks as versioned data, in our own words."""
