"""Creates, describes and removes the deployment on AWS."""
