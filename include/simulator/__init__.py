"""KubeSphere clusters behind a Kubernetes HTTPS API."""
