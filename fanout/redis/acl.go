package redis

// What the gateway's user in Redis needs, as ACL SETUSER takes it: in each mode the channels, and the commands. The first
// word takes away what the user may have had. A gateway that does not publish (POST /publish) and has no canary does
// without +publish and +spublish.
const (
	ACLPattern = "resetchannels resetkeys -@all &notifications:* &carillon:canary:* +psubscribe +subscribe +ping +publish"
	ACLDynamic = "resetchannels resetkeys -@all &notifications:* &carillon:canary:* +subscribe +unsubscribe +ping +publish"
	ACLSharded = "resetchannels resetkeys -@all &notifications:* &carillon:canary:* +ssubscribe +sunsubscribe +ping +spublish +cluster|slots +command|info"
	// ACLCluster is needed besides, by the other two modes on a Cluster. Without the second, losses between nodes are not
	// told.
	ACLCluster = "+cluster|slots +cluster|links"
)
