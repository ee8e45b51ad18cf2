package config

// validate reports what is wrong with values that decoded well.
func validate(d *decoder) { d.unique() }

func (d *decoder) unique() {}
