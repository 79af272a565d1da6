# Generated from infra/template.yaml: change the template, then run `make docs`.

output "opensearch_url" {
  description = "Endpoint that events are indexed in"
  value       = aws_cloudformation_stack.trailsink.outputs["OpensearchUrl"]
}

output "dashboards_url" {
  description = "Address of OpenSearch Dashboards; null where there is none"
  value       = lookup(aws_cloudformation_stack.trailsink.outputs, "DashboardsUrl", null)
}

output "master_secret_arn" {
  description = "Secret with user and password for Dashboards; null where there is none"
  value       = lookup(aws_cloudformation_stack.trailsink.outputs, "MasterSecretArn", null)
}

output "queue_url" {
  description = "Queue of notifications of new files"
  value       = aws_cloudformation_stack.trailsink.outputs["QueueUrl"]
}

output "dead_letter_queue_url" {
  description = "Dead-letter queue, each message with its reason"
  value       = aws_cloudformation_stack.trailsink.outputs["DeadLetterQueueUrl"]
}

output "loader_function_name" {
  description = "The function"
  value       = aws_cloudformation_stack.trailsink.outputs["LoaderFunctionName"]
}

output "loader_role_arn" {
  description = "Role that reads files and writes events; grant it access to an existing cluster, key or bucket"
  value       = aws_cloudformation_stack.trailsink.outputs["LoaderRoleArn"]
}

output "verify_role_arn" {
  description = "Role of the scheduled verification; grant it access to an existing cluster, key or bucket; null where there is none"
  value       = lookup(aws_cloudformation_stack.trailsink.outputs, "VerifyRoleArn", null)
}

output "detect_role_arn" {
  description = "Role of the scheduled detection; grant it access to an existing cluster; null where there is none"
  value       = lookup(aws_cloudformation_stack.trailsink.outputs, "DetectRoleArn", null)
}

output "cluster_setup_role_arn" {
  description = "Role that sets up the cluster; with domain_sign_in iam, the new domain's master; null where there is none"
  value       = lookup(aws_cloudformation_stack.trailsink.outputs, "ClusterSetupRoleArn", null)
}

output "pipeline_dashboard" {
  description = "CloudWatch dashboard of the pipeline"
  value       = aws_cloudformation_stack.trailsink.outputs["PipelineDashboard"]
}

output "next_commands" {
  description = "Commands for your shell, ending in trailsink doctor"
  value       = aws_cloudformation_stack.trailsink.outputs["NextCommands"]
}
