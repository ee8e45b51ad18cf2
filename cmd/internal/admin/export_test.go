package admin

// A Route is a route of the API as tests see it.
type Route struct {
	Method, Path string
	Needs        Role
}

// Routes lists the routes of the API.
func Routes() []Route {
	var all []Route
	for _, rt := range new(api).routes() {
		all = append(all, Route{rt.method, rt.path, rt.needs})
	}
	return all
}

// String returns method and path.
func (rt Route) String() string { return rt.Method + " " + rt.Path }

// The bounds that tests go to.
const (
	MaxBody     = maxBody
	MaxStreams  = maxStreams
	MaxRecorded = maxRecorded
	Heartbeat   = heartbeat
)
