"""What acts on the simulated clusters by itself: Kubernetes' controllers, the kubelet, and KubeSphere's programs.

Actors are clients of the API and of the pods' network, with identities of their own. They never look into a store or
into one another; what one knows of another it has read from the API, as in reality, so that the same code can act on a
real kube-apiserver. What belongs elsewhere: anything that a real API server does itself.
"""
